"""Carries out what is decided: learning rates, what is kept in slots, files; by this process or by all ranks."""

from __future__ import annotations

from collections.abc import Callable, Container, Generator, Iterable
from contextlib import contextmanager, suppress
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ..capabilities import (
    Detachable,
    HasLearningRate,
    Ranks,
    Restorable,
    Saveable,
    Sharded,
    Snapshotable,
    detaches,
    missing,
)
from ..checkpoints import Checkpoint, local_copy, manifest_of, read, remove
from ..checkpoints.async_writer import AsyncWriter, FailedSave, PendingFile, SaveJob
from ..checkpoints.snapshots import SnapshotStore
from ..decision import NOTHING, Action, Decision, Forget, Keep, Restore, Save, ScaleLearningRate
from ..errors import CheckpointError, MissingCapability
from ..failures import Failures
from ..metrics.scalars import to_scalars
from ..resume.state import CheckpointState, collect_checkpoint_state, collect_rank_state
from ..storage.atomic_file import suffix_of
from ..storage.backend import backend_for
from ..storage.paths import Location, location
from ..storage.remote_cache import downloads_kept
from ..storage.sharded_directory import EVERY_PART, VerificationShare, holds_parts

if TYPE_CHECKING:
    from .continuation import Continuation

__all__ = ["ExecutionResult", "Executor"]


class ExecutionResult(NamedTuple):
    """What became of a decision."""

    done: Decision
    """The actions that were carried out, those included that a thread now carries to their end."""
    committed: list[Checkpoint]
    """The files that are complete since the last outcome."""
    unwritten: list[FailedSave]
    """Those that could not be written since then, where whoever asked for them wants the training to go on."""


class Executor:
    """The hands of one run: what a decision says is done to the subject and on the disk.

    Args:
        subject: what is trained.
    """

    def __init__(self, subject: object = None) -> None:
        self.subject = subject
        self.slots = SnapshotStore()
        self.writer = AsyncWriter()
        self.failures = Failures()
        self.directories: tuple[Location, ...] = ()
        """Those that the run owns."""
        self._shared: Ranks | None = None
        self._follows = False
        """Whether this process writes together with rank 0."""
        self._left = False
        """Whether it wrote together with others, and does no more."""

    def carry_out(self, decision: Decision, run: Continuation) -> ExecutionResult:
        """Do what the decision says, in the order of its actions.

        Of several new learning rates the lowest wins; one file is written once, whole if anyone wants it whole; what
        the same decision saves or keeps is not forgotten. Whose file could not be written forgets nothing. Where all
        who save allow it, files are written and forgotten in the background, from a copy of the present state.

        Raises:
            MissingCapability: the subject cannot do it.
            CheckpointError: a file could not be written, now or in the background before, or is not there to be
                restored.
        """
        actions = list(decision)
        self._scale([action for action in actions if isinstance(action, ScaleLearningRate)])
        if not any(isinstance(action, (Keep, Save, Restore, Forget)) for action in actions):
            return ExecutionResult(decision, [], [])
        with self._calling_off():
            before = self.written(wait=True)
            self._keep([action for action in actions if isinstance(action, Keep)])
        if before.unwritten:  # whoever asked for these did not know yet, and has decided as if they were there
            asked = [action for same in self._asked.values() for action in same]
            losers = self._losers(asked, {each.path for each in before.unwritten})
            actions = [each for each in actions if not (isinstance(each, Forget) and each.by in losers)]
            decision = Decision(frozenset(actions))
        self._save(decision, run)
        now = self.written(wait=False)
        lost = {each.path for each in now.unwritten}
        losers = self._losers(actions, lost)
        done = frozenset(
            action
            for action in actions
            if not (isinstance(action, Save) and location(action.path) in lost)
            and not (isinstance(action, Forget) and action.by in losers)
        )
        return ExecutionResult(Decision(done), [*before.committed, *now.committed], [*before.unwritten, *now.unwritten])

    def written(self, *, wait: bool) -> ExecutionResult:
        """What became of the files that were being written, and has not been told.

        Raises:
            CheckpointError: one could not be written, and whoever asked for it wants the training to end.
        """
        job = self.writer.collect(wait=wait)
        if job is None:
            return ExecutionResult(NOTHING, [], [])
        for path, _, error in job.unwritten:
            same = self._asked.get(path, [])
            askers = " and ".join(sorted({action.by or "the loop" for action in same}))
            if any(action.on_error == "raise" for action in same):
                error.add_note(f"asked for by {askers}")
                raise error
            if not self._follows:
                self.failures.note(askers, error)
        if self._follows:  # rank 0 tells of it
            return ExecutionResult(NOTHING, [], [])
        return ExecutionResult(NOTHING, job.committed, job.unwritten)

    def accompany(self, decision: Decision, run: Continuation) -> None:
        """Do what comes before the files where rank 0 writes them, and write along where all ranks have to.

        Raises:
            MissingCapability: the subject cannot do it.
            CheckpointError: what all ranks have written in the background ended early.
        """
        self._scale([action for action in decision if isinstance(action, ScaleLearningRate)])
        if self.sharing() is not None and any(isinstance(each, (Keep, Save, Restore, Forget)) for each in decision):
            with self._calling_off():
                self.written(wait=True)
                self._keep([action for action in decision if isinstance(action, Keep)])
            self._save(decision, run)
            self.written(wait=False)
        else:
            self._keep([action for action in decision if isinstance(action, Keep)])

    def follow(self, decision: Decision) -> None:
        """Do what comes after the files, where another process has written them.

        Raises:
            MissingCapability: the subject cannot do it.
            CheckpointError: a file is not there to be restored.
        """
        kept = {action.slot for action in decision if isinstance(action, Keep)}
        for action in decision:
            if isinstance(action, Restore):
                self._restore(action)
            elif isinstance(action, Forget) and action.source not in kept:
                self.slots.drop(action.source)

    def _require(self, capability: type, actions: Iterable[Action]) -> None:
        for action in actions:
            why = missing(self.subject, capability)
            if why:
                raise MissingCapability(f"{action.by or 'the loop'} asked for {action}, but {why}")

    def _scale(self, actions: list[ScaleLearningRate]) -> None:
        self._require(HasLearningRate, actions)
        if actions and isinstance(self.subject, HasLearningRate):
            rates = self.subject.learning_rates()
            scaled = {name: min(action.applied_to(rate) for action in actions) for name, rate in rates.items()}
            self.subject.set_learning_rates({name: rate for name, rate in scaled.items() if rate != rates[name]})

    def _keep(self, actions: list[Keep]) -> None:
        self._require(Snapshotable, actions)
        if actions and isinstance(self.subject, Snapshotable):
            snapshot = self.subject.snapshot()
            for slot in {action.slot for action in actions}:
                self.slots.keep(slot, snapshot)

    def _save(self, decision: Decision, run: Continuation) -> None:
        """Write, restore and forget what the decision says, or begin to."""
        saves = [action for action in decision if isinstance(action, Save)]
        restores = [action for action in decision if isinstance(action, Restore)]
        self._require(Saveable, saves)
        self._asked: dict[Location, list[Save]] = {}
        for action in saves:
            self._asked.setdefault(location(action.path), []).append(action)
        able = missing(self.subject, Detachable) is None
        able = able and all(detaches(self.subject, path.name) for path in self._asked)
        able = able and all(action.background is not False for action in saves)
        background = able and all(action.source in self.slots for action in restores)
        _ = self.sharing()
        follows = self._follows
        later = () if background or follows else restores
        job, slot = SaveJob([], lambda job: self._then(job, decision, slot, later)), None
        with self._calling_off():
            memory = collect_checkpoint_state(run, decision, self.failures) if saves and not follows else None
            own = collect_rank_state(run).model_dump_json(exclude_defaults=True) if saves and follows else ""
            write = self._writing(background=background)
            try:
                if self._left and saves:
                    raise CheckpointError("a sharded model is saved by all ranks together, and they have parted")
                job.files += [self._file(path, same, run, memory, own, write) for path, same in self._asked.items()]
                if self.slots.unsaved and not saves and self.directories and missing(self.subject, Saveable) is None:
                    slot = write(True)  # noqa: FBT003
            except CheckpointError as error:  # the state cannot be copied, so none of it can be written
                self._lose(job, run.step, error)
        if self._called_off(bool(job.unwritten)):
            slot = None
            if not job.unwritten:
                self._lose(job, run.step, CheckpointError("another rank cannot write its part of the state"))
        if background and not follows:
            for restore in restores:
                self._restore(restore)
        self.writer.submit(job, background=background and bool(job.files or slot))

    def _file(
        self,
        path: Location,
        actions: list[Save],
        run: Continuation,
        memory: CheckpointState | None,
        own: str,
        write: Callable[[bool], Callable[[Path], object]],
    ) -> PendingFile:
        moment = self._moment(path, actions, run, memory)
        in_parts = self._in_parts(suffix_of(path))
        return PendingFile(path, write(moment["weights_only"]), moment, in_parts, self.sharing(), own)

    def _lose(self, job: SaveJob, step: int, error: CheckpointError) -> None:
        job.unwritten = [FailedSave(path, step, error) for path in self._asked]
        job.files.clear()

    @contextmanager
    def _calling_off(self) -> Generator[None]:
        """What fails inside on one rank keeps all from writing: those that did not fail are about to ask whether."""
        try:
            yield
        except BaseException:
            self._called_off(True)  # noqa: FBT003
            raise

    def _called_off(self, failed: bool) -> bool:  # noqa: FBT001
        """Whether one of the ranks that write together cannot."""
        sharing = self.sharing()
        return failed if sharing is None else bool(sharing.maximum([float(failed)])[0])

    def leave(self) -> None:
        """Write together with other ranks no more; whoever waits for this one learns so at once."""
        sharing, self._shared = self._shared, None
        if sharing is not None:
            self._left = True
            with suppress(Exception):
                self.writer.wait()
            sharing.close()

    def sharing(self) -> Ranks | None:
        """The ranks that write together, None where this process, or rank 0, writes alone.

        All ranks ask for them at the same time.
        """
        if self._shared is None and isinstance(self.subject, Sharded) and not self._left:
            self._shared = self.subject.sharing()
            self._follows = self._shared is not None and self._shared.rank > 0
        return self._shared

    def _writing(self, *, background: bool) -> Callable[[bool], Callable[[Path], object]]:
        """What gives, for weights only or for the whole state, what writes them: one copy of each at most."""
        subject = self.subject

        @cache
        def write(weights_only: bool) -> Callable[[Path], object]:  # noqa: FBT001
            if background and isinstance(subject, Detachable):
                return subject.detached(weights_only=weights_only)
            assert isinstance(subject, Saveable)
            return partial(subject.save, weights_only=weights_only)

        return write

    def _then(
        self, job: SaveJob, decision: Decision, slot: Callable[[Path], object] | None, restores: Iterable[Restore]
    ) -> None:
        """What comes after the files: those of slots, and the removal of what is no longer wanted."""
        follows = self._follows
        try:
            if self.slots.unsaved and job.committed:
                self.slots.link_to(job.committed[0], linked=not follows)
                self.slots.prune(() if follows else self.directories)
            elif slot is not None and isinstance(self.subject, Saveable):
                suffix = self.subject.suffixes(weights_only=True)[0]
                in_parts, sharing = self._in_parts(suffix), self.sharing()
                self.slots.write(self.directories[0], suffix, slot, in_parts=in_parts, sharing=sharing)
                self.slots.prune(() if follows else self.directories)
        except (OSError, RuntimeError) as error:
            self.slots.mark_unsaved_lost()
            self._tolerate("Keep", f"what was kept is in memory only: {error}")
        if follows:
            return
        actions = list(decision)
        for restore in restores:
            self._restore(restore)
        losers = self._losers(actions, {each.path for each in job.unwritten})
        made = {action.path if isinstance(action, Save) else getattr(action, "slot", None) for action in actions}
        for action in actions:
            if isinstance(action, Forget) and action.source not in made and action.by not in losers:
                try:
                    self._forget(action)
                except OSError as error:
                    self._tolerate(action.by, f"{action.source!r} could not be removed: {error}")

    def tidy(self) -> None:
        """Remove what was kept for checkpoints that were forgotten since."""
        try:
            self.slots.prune(self.directories if list(self.slots) else ())
        except OSError as error:
            self._tolerate("Keep", f"what was kept for checkpoints that are gone could not be removed: {error}")

    def _tolerate(self, who: str, what: str) -> None:
        self.failures.note(who, CheckpointError(what))

    def _in_parts(self, suffix: str) -> bool:
        return isinstance(self.subject, Sharded) and self.subject.in_parts(suffix)

    def _losers(self, actions: Iterable[Action], unwritten: Container[Location]) -> set[str]:
        """Who has asked for a file that could not be written."""
        return {action.by for action in actions if isinstance(action, Save) and location(action.path) in unwritten}

    def _moment(
        self, path: Location, actions: list[Save], run: Continuation, memory: CheckpointState | None
    ) -> dict[str, Any]:
        if memory is None:  # rank 0 has it
            return {"step": run.step, "weights_only": all(action.weights_only for action in actions)}
        return {
            "epoch": run.epoch,
            "step": run.step,
            "weights_only": all(action.weights_only for action in actions),
            "metrics": to_scalars(run.metrics),
            "reason": "; ".join(dict.fromkeys(action.reason for action in actions if action.reason)),
            "run_state": memory.model_copy(update={"slots": self.slots.references(path)}).model_dump(
                exclude_defaults=True
            ),
        }

    def _restore(self, action: Restore) -> None:
        if action.source in self.slots:
            self._require(Snapshotable, [action])
            if isinstance(self.subject, Snapshotable):
                self.subject.restore(self.slots[action.source])
            return
        if self.slots.is_lost(action.source):
            self._tolerate(action.by, f"{action.source!r} is not restored: it was lost before the run was resumed")
            return
        self._require(Restorable, [action])
        path = location(action.source)
        try:
            there, verified = (backend_for(each).size() is not None for each in (path, manifest_of(path)))
        except OSError as error:
            raise CheckpointError(f"{action.source!r} cannot be restored: {error}") from error
        if not there and not (isinstance(path, Path) and holds_parts(path)):
            kept = ", ".join(map(repr, self.slots)) or "nothing"
            raise CheckpointError(f"{action.source!r} cannot be restored: no such file, and kept in memory is {kept}")
        sharing = self.sharing()
        mine = EVERY_PART if sharing is None else VerificationShare(sharing.rank, sharing.size)
        with downloads_kept():  # a damaged file is refused before it changes anything
            digest = read(path, mine).entry.digest if verified else ""
            if isinstance(self.subject, Restorable):
                with local_copy(path, digest) as file:
                    self.subject.load(file)

    def _forget(self, action: Forget) -> None:
        if not self.slots.drop(action.source):
            remove(location(action.source))
