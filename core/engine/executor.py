"""Execute decisions: change learning rates, keep and restore snapshots, write and delete files."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path
from typing import Protocol, TypeVar

from ..callback import Callback
from ..capabilities import HasLearningRate, Restorable, Saveable, Snapshotable, has, missing
from ..checkpoints import local_copy, manifest_of, read, remove_debris
from ..checkpoints.async_writer import SaveJob
from ..checkpoints.checkpoint_writer import CheckpointWriter, StateSource, plugins_with_failed_saves
from ..checkpoints.discovery import histories_named_in
from ..checkpoints.history.history_reader import remove_unnamed
from ..checkpoints.snapshots import SnapshotStore
from ..checkpoints.writer_group import WriterGroup
from ..decision import NOTHING, Action, Decision, Forget, Keep, Restore, Save, ScaleLearningRate, SetLearningRate
from ..errors import CheckpointError, MissingCapability
from ..failures import Failures
from ..resume.owned_files import OwnedFiles
from ..resume.state import RankState
from ..storage.backend import backend_for, existing
from ..storage.directory_lock import lock_directories
from ..storage.paths import Location, StartDirectory, location
from ..storage.reach import Reach
from ..storage.remote_cache import downloads_kept
from ..storage.sharded_directory import holds_parts
from .execution_result import NO_RESULT, ExecutionResult
from .rates.learning_rates import LearningRates

C = TypeVar("C")


class RankStateSource(StateSource, Protocol):
    """The state of a run, as checkpoints store it: the part of ``StateCollector`` that an executor uses."""

    def rank_state(self) -> RankState:
        """Return the state of this rank."""
        ...


class Executor:
    """Applies decisions to the subject and the disk.

    Args:
        subject: The object that is trained.
        source: Returns the state of the run that a checkpoint stores.
        rates: Changes the learning rates.
        failures: Records what went wrong without ending the run.
    """

    def __init__(self, subject: object, source: RankStateSource, rates: LearningRates, failures: Failures) -> None:
        self._source = source
        self._rates = rates
        self.snapshots = SnapshotStore()
        self._writer_group = WriterGroup(subject)
        self.writer = CheckpointWriter(subject, self.snapshots, self._writer_group, source, failures)
        self._subject = subject
        self._failures = failures
        self.removed = False
        """Whether a directory of the run was removed while it trained."""
        self._may_save: Callable[[Location], bool] = lambda _: False
        self._patterns: list[Location] = []
        """What the callbacks may save, as patterns of ``glob``."""
        self._reached: list[Reach] = []
        """The directories on this machine's disk, below those of the run, in which it may save."""

    def note_directories(self, callbacks: Iterable[Callback]) -> tuple[Location, ...]:
        """Store and return the directories that callbacks write into."""
        owned = OwnedFiles.of(callbacks, self._subject)
        self._patterns = list(map(location, owned.patterns))
        self.writer.directories = owned.directories
        self.writer.may_delete = owned.may_delete
        self._may_save = lambda place: not owned.flaw_of_saving(place)
        self.writer.start = start = StartDirectory()
        places = {start.fixed(each.parent) for each in self._patterns}
        self._reached = [Reach.of(each) for each in places if isinstance(each, Path) and Reach.of(each).below]
        return self.writer.directories

    def lock_directories(self, at_end: ExitStack, report: Callable[[Location], object] = lambda _: None) -> None:
        """Lock the directories until ``at_end`` is closed, and delete the files that dead writers left there.

        Args:
            at_end: Releases the locks.
            report: Called with a directory that was removed and has been made and locked again.

        Raises:
            CheckpointError: Another run has locked one of them, or it cannot be written.
        """
        directories = self.writer.directories
        at_end.enter_context(lock_directories(directories, report=report, reached=self._reached))
        below = [each for reach in self._reached for each in reach.existing()]
        for directory in (*directories, *below):
            remove_debris(directory, self._may_save)
        for directory in directories:
            with suppress(OSError):  # they are removed at the end of the run
                self._prune_histories(directory)
        with suppress(OSError):
            self.snapshots.search(directories, below)

    def finish_earlier(self, decision: Decision) -> ExecutionResult:
        """Wait for the files of the last decision, if this one concerns files, and return what became of them.

        If the result is recorded before ``execute`` is called, the checkpoints of this decision store it.

        Raises:
            CheckpointError: As ``collect`` does.
        """
        if not needs_files(decision):
            return ExecutionResult()
        with self._writer_group.abort_all_on_error():
            return self.collect(wait=True)

    def execute(
        self,
        decision: Decision,
        other_ranks: Sequence[RankState] = (),
        *,
        earlier: ExecutionResult = NO_RESULT,
    ) -> ExecutionResult:
        """Execute the actions of a decision, in their fixed order.

        Learning rates are set, then scaled; the lowest new rate wins. A file is written once, with the complete state
        if any plugin asks for it. A decision never deletes what it also saves or keeps. If a file of a plugin could not
        be written, no file of the plugin is deleted. If every plugin that saves allows it, files are written and
        deleted in the background, from a copy of the current state.

        Args:
            decision: What to do.
            other_ranks: The states of all ranks except rank 0 for a checkpoint, as differences from rank 0's state.
            earlier: What ``finish_earlier`` returned, if it was called.

        Raises:
            MissingCapability: The subject cannot do what is asked.
            CheckpointError: A file could not be written, now or earlier in the background, or cannot be restored.
        """
        decision = self.change_rates(decision)
        if not needs_files(decision):
            return ExecutionResult(decision)
        before = self.prepare(decision)
        failed = (*earlier.failed, *before.failed)
        if failed:  # these plugins decided before the failure was reported, as if the files had been written
            decision = _without(decision, self.writer.requested_by(failed), Forget)
        self._save(decision, other_ranks)
        now = self.collect(wait=False)
        done = decision
        if now.failed:
            lost = {each.path for each in now.failed}
            done = _without(decision, plugins_with_failed_saves(decision, now.failed), Forget)
            done = Decision(
                frozenset(each for each in done if not (isinstance(each, Save) and location(each.path) in lost))
            )
        return ExecutionResult(done, (*before.committed, *now.committed), (*before.failed, *now.failed))

    def collect(self, *, wait: bool) -> ExecutionResult:
        """Return the results of the files since the last call; with ``wait``, wait for files that are being written.

        Raises:
            CheckpointError: A file could not be written, and a plugin asked for it with ``on_error="raise"``.
        """
        return ExecutionResult(NOTHING, *self.writer.collect(wait=wait))

    @property
    def is_collective(self) -> bool:
        """Whether all ranks write each file together; all ranks call this at the same point."""
        return self._writer_group.is_collective

    def rank_state(self) -> RankState:
        """Return the state of this rank, which a checkpoint stores."""
        return self._source.rank_state()

    def existing(self, paths: Iterable[Location]) -> list[Location]:
        """Return the paths that exist or whose directory cannot be read; relative ones start where the run began."""
        places = {path: self.writer.start.fixed(path) for path in paths}
        found = set(existing(places.values()))
        return [path for path, place in places.items() if place in found]

    def report_removed(self, files_of_run: Collection[Location], directory: Location) -> None:
        """Report that a directory was removed during the run, and what is lost with it; a writing thread may call this.

        Args:
            files_of_run: The checkpoints of the run.
            directory: The directory, which is made again.
        """
        self.removed = True
        files = list(files_of_run)
        present = set(self.existing(files))
        start = self.writer.start
        gone = [repr(str(start.shown(each))) for each in files if each not in present]
        gone += [f"the snapshot {slot!r}, which is in memory only" for slot in self.snapshots.mark_missing_lost()]
        more = [f"{len(gone) - 3} more"] if len(gone) > 3 else []
        lost = f"lost: {', '.join([*gone[:3], *more])}" if gone else ""
        why = f"{str(directory)!r}, or its lock file, was removed during the run, and is created again"
        self._failures.record("checkpoints", CheckpointError(why), lost)

    def prune_snapshots(self, others: Iterable[Location] = (), *, over: bool) -> None:
        """Delete the files of snapshots that no checkpoint and no slot names; when over, also the unnamed histories.

        Args:
            others: Checkpoints in other directories that may name some.
            over: Whether the run is over, so that its slots need no files.
        """
        try:
            self.snapshots.prune(others, over=over)
            for directory in self.writer.directories if over else ():
                self._prune_histories(directory)
        except OSError as error:
            self._tolerate("snapshots", f"files that deleted checkpoints have named could not be deleted: {error}")

    def _prune_histories(self, directory: Location) -> None:
        with suppress(FileNotFoundError):  # nothing was written there
            remove_unnamed(directory, partial(histories_named_in, directory, self._patterns))

    def close(self) -> None:
        """Wait for the files, then leave the writer group; ranks that wait for this one fail at once."""
        with suppress(Exception):
            self.writer.wait()
        self._writer_group.leave()

    # --- the steps of a decision

    def change_rates(self, decision: Decision) -> Decision:
        """Change the learning rates; return the decision without what is impossible, or is known to have no effect.

        Raises:
            MissingCapability: The subject cannot do it, and no callback has required it before the training.
        """
        actions = [action for action in decision if isinstance(action, (ScaleLearningRate, SetLearningRate))]
        if not actions:
            return decision
        why = missing(self._subject, HasLearningRate)
        if why and self._rates.report_refusal(actions, why):
            return Decision(decision.actions - set(actions))
        acting = self._rates.change(self._able(HasLearningRate, actions), actions)
        return Decision(decision.actions.difference(set(actions) - acting))

    def prepare(self, decision: Decision) -> ExecutionResult:
        """Wait for the files of the last decision, then copy the subject's state to memory if a plugin keeps it.

        Returns:
            The result of these files.
        """
        with self._writer_group.abort_all_on_error():
            before = self.collect(wait=True)
            self.keep(decision)
        return before

    def keep(self, decision: Decision) -> None:
        """Copy the subject's state to memory if a plugin keeps it."""
        actions = [action for action in decision if isinstance(action, Keep)]
        if actions:
            snapshot = self._able(Snapshotable, actions).snapshot()
            for slot in {action.slot for action in actions}:
                self.snapshots.keep(slot, snapshot)

    def in_background(self, decision: Decision) -> bool:
        """Return whether the files of a decision can be written while the training continues.

        Raises:
            MissingCapability: The subject cannot be saved.
        """
        saves = [action for action in decision if isinstance(action, Save)]
        if saves:
            self._able(Saveable, saves)
        return self.writer.writes_in_background(saves) and all(
            each.source in self.snapshots for each in _restores(decision)
        )

    def _save(self, decision: Decision, other_ranks: Sequence[RankState]) -> None:
        """Write, restore and delete; in the background, only start to write."""
        background, restores = self.in_background(decision), _restores(decision)
        after = partial(self._after_save, decision, () if background else restores)
        self.writer.write(decision, other_ranks, background=background, after=after)
        for restore in restores if background else ():
            self.restore(restore)

    def _after_save(self, decision: Decision, restores: Iterable[Restore], job: SaveJob) -> None:
        """Restore, then delete what the decision has not just made; called by the thread that has written the files."""
        for restore in restores:
            self.restore(restore)
        losers = plugins_with_failed_saves(decision, self.writer.as_given(job.failed))
        made = decision.makes
        for action in decision:
            if not isinstance(action, Forget) or action.source in made or action.by in losers:
                continue
            try:
                if not self.snapshots.drop(action.source):
                    self.writer.remove(self.writer.start.fixed(location(action.source)))
            except OSError as error:
                self._tolerate(action.by, f"{action.source!r} could not be deleted: {error}")

    def restore(self, action: Restore) -> None:
        """Restore the subject from a slot or a file."""
        source = action.source
        if source in self.snapshots:
            self._able(Snapshotable, [action]).restore(self.snapshots[source])
        elif self.snapshots.is_lost(source):
            self._tolerate(action.by, f"{source!r} is not restored: it was lost before the run was resumed")
        else:
            self._load(self._able(Restorable, [action]), source, action.by)
        self._rates.note_restored()

    def _load(self, subject: Restorable, source: str, plugin: str) -> None:
        path = self.writer.start.fixed(location(source))
        try:
            exists, verified = (backend_for(each).size() is not None for each in (path, manifest_of(path)))
        except OSError as error:
            raise CheckpointError(f"{source!r} cannot be restored: {error}") from error
        if not exists and not (isinstance(path, Path) and holds_parts(path)):
            if self.snapshots.begun_elsewhere:
                self._tolerate(plugin, f"{source!r} is not restored: the run did not keep it before it was resumed")
                return
            kept = ", ".join(map(repr, self.snapshots)) or "nothing"
            raise CheckpointError(
                f"{source!r} cannot be restored: there is no such file, and no such snapshot in memory "
                f"(snapshots: {kept})"
            )
        with downloads_kept():  # a damaged file is refused before it changes anything
            found = read(path, self._writer_group.share) if verified else None
            with local_copy(*((path, "") if found is None else (found.state_path, found.state_digest))) as file:
                subject.load(file)

    def _able(self, capability: type[C], actions: Sequence[Action]) -> C:
        """Return the subject if it can do what the actions need; otherwise raise an error that names the first."""
        why = missing(self._subject, capability)
        if why or not has(self._subject, capability):
            action = actions[0]
            raise MissingCapability(f"{action.by or 'the loop'} asked for the action {action.kind!r}, but {why}")
        return self._subject

    def _tolerate(self, plugin: str, problem: str) -> None:
        self._failures.record(plugin, CheckpointError(problem))


def needs_files(decision: Decision) -> bool:
    """Return whether a decision concerns files or snapshots, which are mirrored to files."""
    return any(isinstance(action, (Keep, Save, Restore, Forget)) for action in decision)


def _restores(decision: Decision) -> list[Restore]:
    return [action for action in decision if isinstance(action, Restore)]


def _without(decision: Decision, plugins: Iterable[str], kind: type[Action]) -> Decision:
    """Leave out the actions of a kind that these plugins asked for."""
    plugins = set(plugins)
    return Decision(frozenset(each for each in decision if not (isinstance(each, kind) and each.by in plugins)))
