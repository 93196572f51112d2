"""Checkpoints in the directories of a run that ``resume="auto"`` does not take: no callback writes such a file."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from contextlib import suppress
from pathlib import Path

from ..callback import Callback
from ..checkpoints import Checkpoint, CheckpointInfo, inspect_paths, newest, payloads_in
from ..failures import LOG
from ..storage.paths import Location, StartDirectory, location
from ..storage.sharded_directory import EVERY_PART, VerificationShare


def report_untaken(
    callbacks: Iterable[Callback],
    taken: Collection[Location],
    found: Checkpoint | None,
    damaged: str = "",
    share: VerificationShare = EVERY_PART,
) -> None:
    """Report the newest intact checkpoint that is not taken, if it is newer than the one that is.

    Without one that is taken, report also what there is: others that are damaged, or those of the callbacks.

    Args:
        callbacks: The callbacks of the run, whose directories are listed.
        taken: The checkpoints that may be taken.
        found: The checkpoint that is taken; None if there is none.
        damaged: That all that may be taken are damaged, in words; empty if they are not, or if there are none.
        share: The parts of a sharded checkpoint that this process verifies.
    """
    start = StartDirectory()
    known = {start.identity(each) for each in taken}
    others = sorted((each for each in _payloads(callbacks) if each not in known), key=str)
    newer = [each for each in inspect_paths(others) if _is_newer(each, found)]
    newer.sort(key=lambda each: each.entry is not None and each.entry.weights_only)
    best, _ = newest(newer, share)
    if best is not None:
        name = str(_shown(best.path, found))
        begins = "starts from the beginning" if found is None else f"continues from {str(found.path)!r}, which is older"
        why = f"{damaged and f'{damaged}; '}{name!r} is not a file that the callbacks write"
        LOG.warning("resume='auto': %s; the run %s; to continue from it, give resume=%r", why, begins, name)
    elif found is None and (damaged or others):
        why = damaged or f"{str(others[0])!r} is not a file that the callbacks write"
        LOG.warning("resume='auto': %s; the run starts from the beginning", why)


def _payloads(callbacks: Iterable[Callback]) -> Iterable[Location]:
    """Yield the checkpoints in the directories of the callbacks."""
    for directory in {each for callback in callbacks for each in callback.locked_directories()}:
        with suppress(OSError):
            yield from payloads_in(location(directory))


def _is_newer(other: CheckpointInfo, found: Checkpoint | None) -> bool:
    """Return whether a checkpoint has the state of a run, as complete as the one that is found, and a later one."""
    entry = other.entry
    if entry is None or other.flaw or not entry.run_state:
        return False
    if found is None:
        return True
    complete = not entry.weights_only or found.entry.weights_only
    return complete and (entry.step, entry.epoch) > (found.step, found.epoch)


def _shown(path: Location, found: Checkpoint | None) -> Location:
    """Return a path as the user may have written it: relative to the working directory, unless theirs are absolute."""
    if not isinstance(path, Path) or (found is not None and isinstance(found.path, Path) and found.path.is_absolute()):
        return path
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path
