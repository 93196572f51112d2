"""Find the checkpoints in a directory and the newest intact one, and remove files that killed writers have left."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from ..errors import CheckpointError
from ..storage.atomic_file import RESERVED, suffix_of
from ..storage.backend import backend_for
from ..storage.paths import Location
from ..storage.sharded_directory import EVERY_PART, VerificationShare, holds_parts, remove_stale_parts
from .beside.files import flaw_beside, paths_beside, tidy_up
from .commit import Checkpoint, present_entries, read
from .history.history_reader import find_history_flaws, reference_in
from .manifest import ManifestEntry, entries_of, manifest_of, manifest_problem, payload_names, payload_of
from .newest_link import is_mere_link


class CheckpointInfo(NamedTuple):
    """The state of one payload's path."""

    path: Location
    entry: ManifestEntry | None
    """The manifest's entry for the payload; None if no manifest has one."""
    flaw: str = ""
    """The damage that was found in the payload; empty if none was found."""


def scan(directory: Location, *, verify: bool = False) -> list[CheckpointInfo]:
    """Return all present and former checkpoints of a directory, latest step first; those of unknown step come last.

    Args:
        directory: The directory; its subdirectories are not searched.
        verify: Whether to read every byte. Otherwise a payload of the right size counts as intact.

    Raises:
        CheckpointError: The directory cannot be read.
    """
    try:
        names = sorted(backend_for(directory).list_names())
    except OSError as error:
        raise CheckpointError(f"{str(directory)!r} cannot be searched for checkpoints: {error}") from error
    payloads = set(payload_names(names))
    manifests = {manifest_of(directory / name).name for name in payloads}
    # list a file of the same kind without a manifest: otherwise an older one would silently count as the newest
    suffixes = {suffix_of(Path(name)) for name in payloads} - {""}
    payloads |= {name for name in names if suffix_of(Path(name)) in suffixes and not name.startswith(RESERVED)}
    payloads -= {name for name in payloads if is_mere_link(directory / name)}
    return inspect_paths([directory / name for name in payloads - manifests], verify=verify)


def inspect_paths(paths: Iterable[Location], *, verify: bool = False) -> list[CheckpointInfo]:
    """Return the state of each path, in the order of ``scan``; paths without payload and manifest are left out.

    So are the files that belong to the save of another of these paths.
    """
    own = (path for path in sorted(paths, key=str) if not is_mere_link(path))
    found = [each for each in (_inspect(path, verify=verify) for path in own) if each is not None]
    others = set(paths_beside((each.path, each.entry) for each in found))
    found = [each for each in found if each.path not in others or (each.entry is not None and not each.flaw)]
    return sorted(found, key=_age)


def payloads_in(directory: Location) -> list[Location]:
    """Return the paths in a directory that have a manifest, even if the payload is missing."""
    return [directory / name for name in payload_names(backend_for(directory).list_names())]


def payloads_below(directory: Location) -> Iterator[Location]:
    """Yield the paths that have a manifest in a directory or anywhere below it.

    Raises:
        OSError: Not all directories can be searched.
    """
    for found in map(payload_of, backend_for(directory).files_below()):
        if found is not None:
            yield found


def newest_intact(directory: Location) -> tuple[Checkpoint | None, list[CheckpointInfo]]:
    """Return the intact checkpoint of the latest step (None if there is none) and the ones skipped before it.

    Checkpoints that are damaged, missing or of unknown step are skipped. Those for inspection do not count. The order
    is that of the steps, not of times.

    Raises:
        CheckpointError: The directory cannot be read.

    >>> import tempfile
    >>> from trainbus.checkpoints import commit
    >>> folder = Path(tempfile.mkdtemp())
    >>> for step in (1, 2):
    ...     _ = commit(folder / f"{step}.txt", lambda staged: staged.write_text("weights"), epoch=0, step=step)
    >>> _ = (folder / "2.txt").write_text("weighty")
    >>> newest, skipped = newest_intact(folder)
    >>> newest.step, [found.path.name for found in skipped]
    (1, ['2.txt'])
    """
    return newest(scan(directory))


def newest(
    candidates: Iterable[CheckpointInfo], share: VerificationShare = EVERY_PART
) -> tuple[Checkpoint | None, list[CheckpointInfo]]:
    """Return the first intact candidate (None if there is none) and the skipped ones; see ``newest_intact``."""
    first: Checkpoint | None = None
    skipped: list[CheckpointInfo] = []
    for candidate in candidates:
        if candidate.entry is not None and (first is not None or candidate.entry.for_inspection):
            continue
        found = candidate if candidate.flaw else _inspect(candidate.path, verify=True, share=share)
        if found is None:  # removed meanwhile
            continue
        if found.flaw or found.entry is None:
            skipped.append(found)
        else:
            first = Checkpoint(path=found.path, entry=found.entry)
    return first, skipped


def histories_named_in(directory: Location, patterns: Iterable[Location] = ()) -> Iterator[str]:
    """Yield the names of the histories in a directory that manifests in it, or anywhere below it, may name.

    Args:
        directory: The directory.
        patterns: Payloads that probably name them, as patterns of ``glob``.

    Raises:
        OSError: Some manifest cannot be found or read, so it may name any.
    """
    for path in _payloads_near(directory, patterns):
        entries = entries_of(path)
        if not entries and backend_for(manifest_of(path)).size():
            raise OSError(f"{str(manifest_of(path))!r} cannot be read")
        for entry in entries:
            if (reference := reference_in(entry.run_state)) is not None:
                yield reference.file.rpartition("/")[2]


def _payloads_near(directory: Location, patterns: Iterable[Location]) -> Iterator[Location]:
    """Yield every payload of a directory and of those below it, in an order in which the first ones suffice mostly."""
    yield from payloads_in(directory)
    for pattern in patterns:
        found = map(payload_of, backend_for(manifest_of(pattern)).glob())
        yield from (path for path in found if path is not None)
    yield from payloads_below(directory)


def history_flaws(found: Iterable[CheckpointInfo]) -> dict[Location, str]:
    """Return what is wrong with the histories of checkpoints, by the path of each whose history is not intact."""
    named = {
        each.path: reference
        for each in found
        if each.entry is not None and (reference := reference_in(each.entry.run_state)) is not None
    }
    flaws = find_history_flaws((path.parent, reference) for path, reference in named.items())
    return {path: flaws[key] for path, reference in named.items() if (key := reference.key) in flaws}


def remove_debris(directory: Location, may_replace: Callable[[Location], bool] = lambda _: False) -> None:
    """Remove files that killed writers have left in ``directory``; call this only while holding its lock.

    Args:
        directory: The directory.
        may_replace: Returns whether a file of a committed save, which a killed writer has left under its first name,
            may get its own name at a path.
    """
    backend_for(directory).remove_debris()
    with suppress(FileNotFoundError):  # nothing was written there
        tidy_up(directory, may_replace)
    for path in payloads_in(directory) if isinstance(directory, Path) else ():
        if isinstance(path, Path) and holds_parts(path) and (present := present_entries(path, entries_of(path))):
            remove_stale_parts(path, [entry.parts for entry in present])


def _inspect(path: Location, *, verify: bool, share: VerificationShare = EVERY_PART) -> CheckpointInfo | None:
    """Return the state of a path, None without payload and manifest; after a crash, the digest finds the entry."""
    try:
        entries = entries_of(path)
        size = _size(path, entries)
    except OSError as error:
        return CheckpointInfo(path, None, f"its manifest cannot be read: {error}")
    if not entries:
        flaw = manifest_problem(path)
        return None if size is None and flaw.endswith("missing") else CheckpointInfo(path, None, flaw)
    if size is None:
        return CheckpointInfo(path, entries[0], "missing: it was removed, or its run died before it was written")
    if len(entries) == 1 and entries[0].size == size and not verify:
        flaw = flaw_beside(path, entries[0], verify=False)
        return CheckpointInfo(path, entries[0], f"damaged: {flaw}" if flaw else "")
    try:
        entry = read(path, share).entry
        foreign = "not a checkpoint: the save that was to replace this file did not finish"
        return CheckpointInfo(path, entry) if entry.step >= 0 else CheckpointInfo(path, None, foreign)
    except CheckpointError as error:
        if error.__cause__:
            return CheckpointInfo(path, entries[0], f"unreadable: {error.__cause__}")
        damage = str(error).partition(" is damaged: ")[2]
        if not (isinstance(path, Path) and path.is_dir()) and all(entry.size != size for entry in entries):
            damage = f"{size:,} bytes, not {entries[0].size:,}"
        return CheckpointInfo(path, entries[0], f"damaged: {damage}")


def _size(path: Location, entries: list[ManifestEntry]) -> int | None:
    """Return the size of a payload (of a directory: of its newest entry's parts); None if it does not exist."""
    if not isinstance(path, Path) or not holds_parts(path) or (entries and not entries[0].parts):
        return backend_for(path).size()
    try:
        return sum((path / part.name).stat().st_size for part in (entries[0].parts if entries else ()))
    except FileNotFoundError:
        return 0 if path.is_dir() else None


def _age(found: CheckpointInfo) -> tuple[float, ...]:
    """Return the sort key that puts the latest step first."""
    if found.entry is None:
        return (1,)
    return (0, -found.entry.step, -found.entry.epoch, -found.entry.written.timestamp())
