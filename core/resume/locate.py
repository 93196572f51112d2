"""Find the checkpoint to resume from."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import cast

from pydantic import ValidationError

from ..callback import Callback
from ..checkpoints import (
    Checkpoint,
    CheckpointInfo,
    entries_of,
    inspect_paths,
    manifest_of,
    newest,
    payload_of,
    read,
    scan,
)
from ..checkpoints.newest_link import followed
from ..errors import CheckpointError, SettingsError, UnreadableCheckpoint
from ..failures import LOG
from ..metrics.names import hint
from ..storage.backend import backend_for
from ..storage.file_kind import kind_of
from ..storage.paths import AUTO, Location, RemotePath, Source, location
from ..storage.sharded_directory import EVERY_PART, SHARDS, VerificationShare, holds_parts
from ..terminal.text import shown
from .end_record import find_end
from .state import CheckpointState
from .untaken import report_untaken


def locate(
    source: Source,
    callbacks: Collection[Callback],
    share: VerificationShare = EVERY_PART,
    without: Collection[Location] = (),
    subject: object = None,
) -> Checkpoint | None:
    """Find the checkpoint to resume from.

    Args:
        source: The path of a checkpoint; a directory, to use its newest intact checkpoint; or "auto", to use the newest
            intact file that the callbacks have written.
        callbacks: The callbacks of the run.
        share: The parts of a sharded checkpoint that this process verifies.
        without: Checkpoints that other processes have found to be damaged.
        subject: What is trained; it knows the suffixes of its files.

    Returns:
        The checkpoint, verified; None for "auto" if there is none.

    Raises:
        SettingsError: There is no such file, or no callback writes files that "auto" could look for.
        CheckpointError: The checkpoint is damaged, or holds no state of a run.
    """
    try:
        if source == AUTO:
            return _of_callbacks(callbacks, share, without, subject)
        given = location(source)
        path = followed(given)
        backend = backend_for(path)
        if backend.is_directory():
            if not _is_checkpoint(path):
                return _newest_in(path, source, share, without)
        elif backend.size() is None:
            if path != given and entries_of(path) and backend_for(given).size() is not None:
                raise CheckpointError(
                    f"resume={str(source)!r} is damaged: the file {path.name!r} of the same save is missing; move it "
                    "together with the others"
                )
            if isinstance(path, Path) and (kind := kind_of(path)):
                raise SettingsError(f"resume={str(source)!r} is a {kind}; give the path of a checkpoint")
            directory = backend_for(path.parent)
            names = directory.list_names() if directory.is_directory() else []
            raise SettingsError(f"resume={str(source)!r}: no such file{hint(path.name, [AUTO, *names], otherwise='')}")
        checkpoint = read(path, share)
        state_of(checkpoint)
    except CheckpointError:
        raise
    except OSError as error:
        raise CheckpointError(f"resume={str(source)!r}: {error}") from error
    return checkpoint


def state_of(checkpoint: Checkpoint) -> CheckpointState:
    """Return the state of the run that a checkpoint stores.

    Raises:
        UnreadableCheckpoint: A run has not saved it, or it is damaged.
    """
    try:
        return CheckpointState.model_validate(checkpoint.entry.run_state)
    except ValidationError:
        raise UnreadableCheckpoint(
            f"{str(checkpoint.path)!r} has no run state that this version of trainbus can read"
        ) from None


def _of_callbacks(
    callbacks: Collection[Callback], share: VerificationShare, without: Collection[Location], subject: object
) -> Checkpoint | None:
    patterns = [pattern for callback in callbacks for pattern in callback.checkpoint_patterns(subject)]
    if not patterns:
        raise SettingsError("resume='auto' needs a callback that saves: list ModelCheckpoint, or give a path")
    paths = [location(pattern) for pattern in patterns]
    places = [backend_for(each) for path in paths for each in (path, manifest_of(path))]
    payloads = {payload_of(path) or path for place in places for path in place.glob()}
    candidates = inspect_paths(payloads - set(without))
    found = _newest_of(candidates, share)
    damaged = "no checkpoint is intact" if found is None and (candidates or without) else ""
    report_untaken(callbacks, payloads, found, damaged, share)
    return found


def _newest_in(
    directory: Location, source: Source, share: VerificationShare, without: Collection[Location]
) -> Checkpoint | None:
    candidates = [each for each in scan(directory) if each.path not in without]
    found = _newest_of(candidates, share)
    if found is None and find_end([directory], None) is None:
        kept = next((each.path for each in candidates if each.entry is not None and each.entry.for_inspection), None)
        raise SettingsError(
            f"resume={str(source)!r}: this directory has no intact checkpoint of a run; resume='auto' starts from the "
            f"beginning if there is none{f'; to continue from what was kept, give {str(kept)!r}' if kept else ''}"
        )
    return found


def _newest_of(candidates: Iterable[CheckpointInfo], share: VerificationShare) -> Checkpoint | None:
    """Return the newest intact checkpoint with the state of a run; one that holds only weights if there is no other."""
    runs = [each for each in candidates if each.entry is None or each.entry.run_state]
    runs.sort(key=lambda each: each.entry is not None and each.entry.weights_only)
    found, skipped = newest(runs, share)
    for each in skipped:
        LOG.warning("skipped: %s: %s", each.path, each.flaw or "it has no run state")
    return found


def _is_checkpoint(directory: Location) -> bool:
    """Return whether a directory is a checkpoint in parts, also one that has lost its manifest."""
    if not directory.name:  # the working directory has none
        return False
    if entries_of(directory):
        return True
    return isinstance(directory, Path) and any(directory.glob(f"{SHARDS}*")) and holds_parts(directory)


def check_resume(source: object) -> Source | None:
    """Return what names a checkpoint to resume from; None resumes nothing.

    Raises:
        SettingsError: It is no path, or an empty one.
    """
    given = shown(source)
    if source is None or (isinstance(source, (str, os.PathLike, RemotePath)) and source != ""):
        return cast("Source | None", source)
    raise SettingsError(
        f"resume={given}: give the path of a checkpoint, a directory, 'auto', or what run.state_dict() "
        "returned; None starts from the beginning"
    )
