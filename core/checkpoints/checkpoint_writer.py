"""Write the checkpoints of a decision, at once or in the background."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from pydantic import BaseModel

from ..capabilities import (
    BackgroundSaveable,
    Saveable,
    Sharded,
    SnapshotsMore,
    has,
    saves_in_background,
    supports,
)
from ..decision import Action, Decision, Save
from ..errors import CheckpointError, error_text
from ..failures import Failures
from ..storage.atomic_file import suffix_of
from ..storage.paths import Location, StartDirectory, location
from .async_writer import AsyncWriter, FailedSave, Link, PendingFile, SaveJob
from .beside.writers import FileWriters, default_suffix
from .collective_commit import Write
from .commit import Checkpoint, remove
from .history.history_log import HistoryLog
from .newest_link import place_of
from .snapshots import SnapshotStore
from .writer_group import WriterGroup


class Written(NamedTuple):
    """The files that were written, or failed, since the last call."""

    committed: tuple[Checkpoint, ...] = ()
    failed: tuple[FailedSave, ...] = ()
    """The checkpoints that could not be written, if the plugins that asked for them let the run continue."""


class StorableState(Protocol):
    """The state of a run, which each checkpoint of one moment stores with its own relative paths."""

    def stored_at(self, path: Location, start: StartDirectory, slots: Mapping[str, Any], /) -> dict[str, Any]:
        """Return the state as the checkpoint at a path stores it."""
        ...


class StateSource(Protocol):
    """The state of a run, as checkpoints store it: the part of ``StateCollector`` that a writer uses."""

    def rank_state(self) -> BaseModel:
        """Return the state of this rank."""
        ...

    def checkpoint_state(self, decision: Decision, other_ranks: Sequence[Any]) -> StorableState:
        """Return the state of the run after the plugins have decided ``decision``."""
        ...

    def history_for(self, path: Location, /) -> HistoryLog:
        """Return the history that the checkpoint at an absolute path names, with everything until now."""
        ...

    def progress(self) -> dict[str, Any]:
        """Return the epoch, the step and the metrics of the run."""
        ...


class CheckpointWriter:
    """Writes checkpoints and snapshots of a subject.

    Args:
        subject: The object that is trained.
        snapshots: The snapshots in memory, which are mirrored to disk.
        group: The ranks that write together.
        source: Returns the state of the run that a checkpoint stores.
        failures: Records files that could not be written.
    """

    def __init__(
        self,
        subject: object,
        snapshots: SnapshotStore,
        group: WriterGroup,
        source: StateSource,
        failures: Failures,
    ) -> None:
        self.directories: tuple[Location, ...] = ()
        """The directories that the run has locked."""
        self.start = StartDirectory()
        """The directory in which relative paths start."""
        self.contents: Mapping[str, Callable[[], Any]] = {}
        """Name of a plugin to the function that returns the content of its files, if it is not the training state."""
        self.may_delete: Callable[[Location], bool] = lambda _: False
        """Returns whether another file of a save, at an absolute path, belongs to the run."""
        self._beside: dict[Location, list[Location]] = {}
        """Each file that this run has saved together with others, to these."""
        self._subject = subject
        self._snapshots = snapshots
        self._group = group
        self._source = source
        self._failures = failures
        self._writer = AsyncWriter()
        self._requested: dict[Location, list[Save]] = {}
        self._pending = False
        self._link_failed = False
        """Whether it was reported that a link could not be made."""

    def writes_in_background(self, saves: Collection[Save]) -> bool:
        """Return whether the subject can write these files while it is trained, and every plugin allows it."""
        if not supports(self._subject, BackgroundSaveable):
            return False
        names = {location(action.path).name for action in saves}
        return all(saves_in_background(self._subject, name) for name in names) and all(
            action.background is not False for action in saves
        )

    def write(
        self,
        decision: Decision,
        other_ranks: Sequence[BaseModel] = (),
        *,
        background: bool,
        after: Callable[[SaveJob], object],
    ) -> None:
        """Write the checkpoints of a decision, and the snapshots that are not on disk yet.

        Args:
            decision: The saves, and the decision that each checkpoint stores.
            other_ranks: The states of all ranks except rank 0, which each checkpoint stores.
            background: Whether a thread writes a copy of the state; this method then returns before the files exist.
            after: Called after every file was written or has failed, by the thread that writes them.
        """
        requested: dict[Location, list[Save]] = {}
        for action in decision:
            if isinstance(action, Save):
                requested.setdefault(location(action.path), []).append(action)
        self._requested, self._pending = requested, True
        mirror: Write | None = None
        job = SaveJob([], lambda job: self._finish(job, mirror, after), collective=self._group.is_collective)
        job.leads, job.report = self._group.leads, self._report_link
        with self._group.abort_all_on_error():
            writers = FileWriters(self._subject, self.contents, background=background)
            self._prepare(job, decision, other_ranks, writers)
            mirror = self._mirror(job, writers)
        if self._leave_out_failed(job):
            mirror = None
        # with a failure, all is written now, so that the failure is raised or reported now
        self._writer.submit(job, background=background and not job.failed and bool(job.files or mirror))

    def _prepare(
        self, job: SaveJob, decision: Decision, other_ranks: Sequence[BaseModel], writers: FileWriters
    ) -> None:
        """Make the files of a job. One that cannot be made has failed; the others are written without it."""
        group, requested = self._group, self._requested
        if not requested:
            return
        try:
            state = self._source.checkpoint_state(decision, other_ranks) if group.leads else None
            own = "" if group.leads else self._source.rank_state().model_dump_json(exclude_defaults=True)
            if group.left:
                raise CheckpointError("all ranks save a sharded model together, but this rank has left the group")
        except Exception as error:  # noqa: BLE001 - whatever a plugin raises
            self._fail(job, requested, error)
            return
        for path, actions in requested.items():
            try:
                job.files.append(self._pending_file(path, actions, state, own, writers))
            except Exception as error:  # noqa: BLE001 - the model's state cannot be read or copied
                self._fail(job, [path], error)

    def _pending_file(
        self, path: Location, actions: list[Save], state: StorableState | None, own: str, writers: FileWriters
    ) -> PendingFile:
        place = self.start.fixed(path)
        log = None if state is None else self._source.history_for(place)
        metadata = self._metadata(place, actions, state, log)
        write, beside = writers.of(place, actions, weights_only=metadata["weights_only"])
        if others := [place.with_name(each.name) for each in beside if each.name]:
            self._beside[place] = others
        write_history = None if log is None else log.write
        links = self._links(next((each.links for each in actions if each.links), ()))
        in_parts = self._sharded(suffix_of(path))
        return PendingFile(place, write, metadata, in_parts, self._group.ranks, own, write_history, links, beside)

    def _mirror(self, job: SaveJob, writers: FileWriters) -> Write | None:
        """Return the function that writes the snapshots that are not on disk yet; None if it is not needed."""
        held = any(self._holds_snapshot(weights_only=each.metadata["weights_only"]) for each in job.files)
        if not self._snapshots.unsaved or held or job.failed or not self._saves_snapshots():
            return None
        return writers.state(weights_only=not self._snapshots_more)

    def _leave_out_failed(self, job: SaveJob) -> bool:
        """Leave out of a job the files that any rank cannot write; return whether a rank has failed."""
        mine, requested = {each.path for each in job.failed}, list(self._requested)
        # the last one is no file: it has failed if a rank has raised an error
        *failed, raised = self._group.failed_anywhere([*(path in mine for path in requested), False])
        lost = [path for path, fails in zip(requested, failed, strict=True) if fails]
        others = [path for path in lost if path not in mine]
        self._fail(job, others, CheckpointError("another rank cannot write its part of the state"))
        places = set(map(self.start.fixed, lost))
        job.files = [each for each in job.files if each.path not in places]
        return raised or bool(lost)

    def remove(self, place: Location) -> None:
        """Remove the files of a save: of those that a manifest names, only those of the run."""
        saved = self._beside.pop(place, [])
        remove(place, lambda each: each in saved or self.may_delete(each))
        self._snapshots.note_change(place)

    def _links(self, given: Iterable[tuple[str, str]]) -> tuple[Link, ...]:
        places = ((self.start.fixed(location(path)), link) for path, link in given)
        return tuple(Link(place_of(link, place), place) for place, link in places if isinstance(place, Path))

    def _report_link(self, error: CheckpointError) -> None:
        if not self._link_failed:
            self._link_failed = True
            self._failures.record("checkpoints", error)

    def collect(self, *, wait: bool) -> Written:
        """Return the results of the files since the last call.

        Args:
            wait: Whether to wait for files that are being written.

        Raises:
            CheckpointError: A file could not be written, and a plugin asked for it with ``on_error="raise"``.
        """
        job = self._writer.collect(wait=wait) if self._pending else None
        if job is None:
            return Written()
        self._pending = False
        given = {self.start.fixed(path): path for path in self._requested}
        committed = [Checkpoint(path=given.get(each.path, each.path), entry=each.entry) for each in job.committed]
        failed = self.as_given(job.failed)
        for path, _, error in failed:
            actions = self._requested.get(path, [])
            plugins = " and ".join(sorted({action.by or "the loop" for action in actions}))
            if any(action.on_error == "raise" for action in actions):
                error.add_note(f"asked for by {plugins}")
                raise error
            if self._group.leads:
                self._failures.record(plugins, error)
        if not self._group.leads:  # rank 0 reports it
            return Written()
        return Written(tuple(committed), tuple(failed))

    def as_given(self, failed: Iterable[FailedSave]) -> list[FailedSave]:
        """Return the failures, and their errors, with the paths as the plugins gave them."""
        given = {self.start.fixed(path): path for path in self._requested}
        found: list[FailedSave] = []
        for each in failed:
            path = given.get(each.path, each.path)
            each.error.args = (str(each.error).replace(repr(str(each.path)), repr(str(path))),)
            found.append(each._replace(path=path))
        return found

    def requested_by(self, failed: Iterable[FailedSave]) -> set[str]:
        """Return the plugins that asked for these files in the last decision."""
        return plugins_with_failed_saves((action for same in self._requested.values() for action in same), failed)

    def abandon(self) -> None:
        """Do not commit the file that is being written, and do not wait for it."""
        self._writer.abandon()

    def wait(self) -> None:
        """Wait until the files are written."""
        self._writer.wait()

    def _metadata(
        self, place: Location, actions: list[Save], state: StorableState | None, log: HistoryLog | None
    ) -> dict[str, Any]:
        progress, weights_only = self._source.progress(), all(action.weights_only for action in actions)
        if state is None or log is None:  # rank 0 has them
            return {"step": progress["step"], "weights_only": weights_only}
        stored = state.stored_at(place, self.start, self._snapshots.references(place))
        history = log.reference(place.parent).model_dump(exclude_defaults=True)
        return {
            **progress,
            "weights_only": weights_only,
            "for_inspection": all(action.for_inspection for action in actions),
            "reason": "; ".join(dict.fromkeys(action.reason for action in actions if action.reason)),
            "run_state": {**stored, "history": history},
        }

    def _sharded(self, suffix: str) -> bool:
        return has(self._subject, Sharded) and self._subject.saves_sharded(suffix)

    @property
    def _snapshots_more(self) -> bool:
        return has(self._subject, SnapshotsMore) and bool(self._subject.left_out_of_weights())

    def _holds_snapshot(self, *, weights_only: bool) -> bool:
        """Return whether such a checkpoint holds the complete snapshot of the same moment."""
        return not (weights_only and self._snapshots_more)

    def _saves_snapshots(self) -> bool:
        return bool(self.directories) and supports(self._subject, Saveable)

    def _fail(self, job: SaveJob, paths: Iterable[Location], error: Exception) -> None:
        lost = error
        if not isinstance(lost, CheckpointError):
            notes = "".join(f" ({note})" for note in getattr(error, "__notes__", ()))
            lost = CheckpointError(f"the state cannot be saved: {error_text(error)}{notes}")
            lost.__cause__ = error
        step = self._source.progress()["step"]
        job.failed += [FailedSave(path, step, lost) for path in paths]

    def _finish(self, job: SaveJob, mirror: Write | None, after: Callable[[SaveJob], object]) -> None:
        """Mirror the snapshots to disk, then call ``after``."""
        leads, snapshots = self._group.leads, self._snapshots
        for path in (*(each.path for each in job.committed), *(each.path for each in job.failed)):
            snapshots.note_change(path)
        try:
            holders = [each for each in job.committed if self._holds_snapshot(weights_only=each.entry.weights_only)]
            if snapshots.unsaved and holders:
                snapshots.link_to(holders[0], linked=leads)
            elif mirror is not None and has(self._subject, Saveable):
                suffix = default_suffix(self._subject, weights_only=not self._snapshots_more)
                directory, ranks = self.directories[0], self._group.ranks
                snapshots.write(directory, suffix, mirror, in_parts=self._sharded(suffix), ranks=ranks)
            if leads:
                snapshots.prune()
        except (OSError, RuntimeError) as error:
            snapshots.mark_unsaved_lost()
            self._failures.record("snapshots", CheckpointError(f"the snapshot is in memory only: {error}"))
        after(job)


def plugins_with_failed_saves(actions: Iterable[Action], failed: Iterable[FailedSave]) -> set[str]:
    """Return the plugins among those of the actions whose files could not be written."""
    paths = {each.path for each in failed}
    return {action.by for action in actions if paths and isinstance(action, Save) and location(action.path) in paths}
