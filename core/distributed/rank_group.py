"""Several processes that decide as one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from functools import partial
from typing import Any, cast

from ..capabilities import HasRanks, Ranks, has, missing
from ..checkpoints import Checkpoint, entries_of, read
from ..decision import NOTHING, Decision, Forget, Restore, Save, Stop
from ..decision_json import decision_from_json, decision_to_json
from ..engine.bus import BoundHook
from ..engine.dispatch import CompiledHook
from ..engine.execution_result import ExecutionResult
from ..engine.executor import Executor
from ..engine.run_state import RunState
from ..errors import CheckpointError, RankError, SettingsError, UnreadableCheckpoint
from ..failures import LOG
from ..metrics.running_means import RunningMeans
from ..resume.state import RankState
from ..storage.paths import Location, Source, location
from ..storage.sharded_directory import VerificationShare
from .coordinator import Coordinator, StopReceiver
from .group import Group, Locate, Solo
from .rendezvous import BATCHES, Point, describe_error, describe_failures

HOOKS_WITH_METRICS = frozenset({"on_batch_end", "on_validation_end"})
"""Hooks that need a separate barrier for the metrics; the end of an epoch always has one."""
OBSERVER_HOOKS = frozenset({"on_decision", "on_checkpoint", "on_checkpoint_error", "on_exception", "on_train_end"})
"""Hooks whose answers are ignored, or executed only at the very end."""


def group_for(subject: object, state: RunState) -> Group:
    """Return the processes that train the subject: ``RankGroup`` for several, ``Solo`` for one."""
    ranks = subject.ranks() if has(subject, HasRanks) and missing(subject, HasRanks) is None else None
    return Solo() if ranks is None else RankGroup(ranks, state)


class RankGroup:
    """Several processes that decide as one; ``Group`` documents the methods.

    Args:
        ranks: The processes.
        state: The plain data of the run.
    """

    def __init__(self, ranks: Ranks, state: RunState) -> None:
        self.rank, self.size, self.leads = ranks.rank, ranks.size, ranks.rank == 0
        self._ranks = ranks
        self._state = state
        self._coordinator = Coordinator(ranks, state)
        self._coordinated_stop = self._coordinator.coordinated_stop
        self._deciding: set[str] = set()
        """The hooks that a deciding plugin implements."""
        self._deferred: Exception | None = None

    # --- hooks

    def bind(self, hook: BoundHook) -> CompiledHook:
        """Add a barrier to a hook at which plugins decide; at other hooks no rank waits."""
        if hook.decides:
            self._deciding.add(hook.name)
        if hook.name in OBSERVER_HOOKS:
            return partial(self._call_shared, hook) if hook.decides else hook.call
        return partial(self._decide if hook.decides else self._observe, hook)

    def _call_shared(self, hook: BoundHook, *values: Any) -> None:
        with self.shared():
            hook.call(*values)

    def _observe(self, hook: BoundHook, *values: Any) -> None:
        if (results := hook.call(*values)) is not None:
            self._coordinator.proposed |= hook.join(results)

    def _decide(self, hook: BoundHook, run: object, *values: Any) -> Decision | None:
        name, state = hook.name, self._state
        if name in BATCHES and self._coordinator.out_of_batches:
            return None
        if name in HOOKS_WITH_METRICS:
            means = self._coordinator.reduce(cast("Point", name))
            if means is None:
                return None
            values = (*values[:-1], _with_all_ranks(name, values[-1], state.means, means))
        decision, error, self._deferred = NOTHING, self._deferred, None
        try:
            if error is not None:
                raise error
            results = hook.call(run, *values)
            decision = NOTHING if results is None else hook.join(results)
        except Exception as raised:  # noqa: BLE001 - raised on every rank
            error = raised
        own_barrier = name not in HOOKS_WITH_METRICS and name != "on_epoch_end"
        met = self._coordinator.barrier(
            cast("Point", name) if own_barrier else "answer", value=decision_to_json(decision), error=error
        )
        return None if met is None else (decision_from_json(met.value) | self.pending()) or None

    # --- begin

    def begin(self, settings: Mapping[str, Any], stop: StopReceiver) -> None:
        """Check that all ranks list the same callbacks, and start to listen to stop requests."""
        self._coordinator.stop = stop
        first, *others = self._coordinator.rendezvous.all_gather(dict(settings))
        for rank, other in enumerate(others, start=1):
            if other != first:
                raise self._coordinator.mark_shared(SettingsError(_first_difference(first, other, rank)))
        self._coordinated_stop.start()

    def restore(self, find: Locate, load: Callable[[Checkpoint], object], source: Source) -> None:
        """Let rank 0 find a checkpoint and every rank verify its part, until no rank finds damage; then load it."""
        share, damaged, partly = VerificationShare(self.rank, self.size), list[Location](), ""
        while True:
            checkpoint, error = None, None
            if self.leads:
                try:
                    checkpoint = find(share, damaged)
                except Exception as raised:  # noqa: BLE001 - raised on every rank
                    error = raised
            found = [] if checkpoint is None else [str(checkpoint.path), checkpoint.entry.digest]
            found = self._coordinator.broadcast(found, error)
            if not found:
                if partly:
                    raise self._coordinator.mark_shared(CheckpointError(partly))
                return
            path, flaw = location(found[0]), ""
            with self.shared():
                try:
                    checkpoint = checkpoint or _same_checkpoint(found[0], found[1], share)
                except CheckpointError as raised:
                    flaw = str(raised)
            flaws = self._all_flaws(flaw)
            if not flaws and checkpoint is not None:
                with self.shared():
                    try:
                        load(checkpoint)
                    except UnreadableCheckpoint as raised:
                        flaw = str(raised)
                flaws = self._all_flaws(flaw)
                if not flaws:
                    return
                if len(flaws) < self.size:
                    problem = describe_failures(flaws)
                    partly = f"{problem}; the other ranks have read it, and there is no older one for all of them"
            damaged.append(path)
            if location(source) == path:
                raise self._coordinator.mark_shared(UnreadableCheckpoint(describe_failures(flaws)))
            if self.leads:
                LOG.warning("skipped: %s: %s", path, describe_failures(flaws))

    def _all_flaws(self, flaw: str) -> dict[int, str]:
        """Return the problems that ranks have found with a checkpoint, by rank."""
        return {rank: each for rank, each in enumerate(self._coordinator.rendezvous.all_gather(flaw)) if each}

    def agree(self, result: ExecutionResult) -> ExecutionResult:
        """Return rank 0's result on every rank."""
        return ExecutionResult.from_json(self._coordinator.broadcast(result.to_json(), None))

    # --- metrics and decisions

    def end_epoch(self, means: RunningMeans, executor: Executor) -> tuple[RunningMeans, ExecutionResult]:
        """Reduce the means; rank 0's results of background writes come with the same barrier."""
        error = None
        try:
            self._coordinator.results = executor.writer.collect(wait=False)
        except Exception as raised:  # noqa: BLE001 - raised on every rank
            error = raised
        reduced = self._coordinator.reduce("on_epoch_end", error)
        assert reduced is not None
        results, self._coordinator.results = self._coordinator.results, ExecutionResult()
        return reduced, results

    def defer(self, error: Exception) -> None:
        """Raise the error at the barrier of on_epoch_end; at once if no plugin decides there."""
        if "on_epoch_end" not in self._deciding:
            raise error
        self._deferred = error

    def propose(self, decision: Decision) -> Decision:
        """Keep the decision until the next barrier; ask all ranks to stop at once if it stops the run."""
        self._coordinator.proposed |= decision
        for action in decision:
            if isinstance(action, Stop):
                self._coordinated_stop.request({"stop": action.reason})
                self._state.stop_actions.append(action)
        return NOTHING

    def pending(self) -> Decision:
        """Return what the loops of all ranks have decided, once."""
        return self._coordinator.pending()

    def shared(self) -> AbstractContextManager[None]:
        """Raise on all ranks an error that one rank raises inside the block."""
        return self._coordinator.shared()

    def execute(self, decision: Decision, executor: Executor) -> ExecutionResult:
        """Execute the decision on rank 0, then on the others; an error on one rank is raised on all."""
        if self._coordinator.left:
            return executor.execute(decision)
        if decision.stops:
            self._coordinated_stop.reset()
        if all(isinstance(action, Stop) for action in decision):
            return ExecutionResult(decision)
        if any(isinstance(action, Save) for action in decision) and executor.writer_group.ranks is None:
            gathered = self._coordinator.rendezvous.gather(executor.collector.rank_state().compressed().model_dump())
            states = [RankState.model_validate(each) for each in gathered]
            executor.collector.other_ranks = [each.difference_from(states[0]) for each in states[1:]]
        result, error = ExecutionResult(decision), None
        try:
            if self.leads:
                result = executor.execute(decision)
            else:
                executor.execute_on_follower(decision)
        except Exception as raised:  # noqa: BLE001 - raised on every rank
            error = raised
        data = self._coordinator.broadcast(result.to_json(), error)
        if any(isinstance(action, (Restore, Forget)) for action in decision):
            with self.shared():
                if not self.leads:
                    executor.finish_on_follower(decision)
        return result if self.leads else ExecutionResult.from_json(data)

    # --- stop requests

    def request_stop(self, what: Mapping[str, str]) -> None:
        """Ask all ranks to end."""
        self._coordinated_stop.request(dict(what))

    def may_stop(self) -> bool:
        """Return whether all ranks are at the same batch."""
        return self._coordinated_stop.idle or self._coordinated_stop.at_last_batch()

    # --- end

    def arrive(self, error: BaseException | None, executor: Executor) -> BaseException | None:
        """Meet at the end of the run, or leave if this rank alone has failed: the others may wait in a batch for it."""
        interrupted = self._state.interrupted
        if error is not None and not interrupted and error is not self._coordinator.shared_error:
            self._leave(error, executor)
            return error
        try:
            met = self._coordinator.barrier("on_train_end", error=None if interrupted else error)
        except RankError as lost:
            self._leave(lost, executor)
            return error or lost
        assert met is not None
        return error or (RankError(describe_failures(met.failed)) if met.failed else None)

    def final_decision(self, decision: Decision, failure: Exception | None) -> tuple[Decision | None, Exception | None]:
        """Return rank 0's decision, joined with those of the loops."""
        if self._coordinator.left:
            return (decision if self.leads else None), None
        met = self._coordinator.rendezvous.barrier("answer", value=decision_to_json(decision), error=failure)
        assert met is not None
        lost = RankError(describe_failures(met.failed)) if met.failed and failure is None else None
        return decision_from_json(met.value) | self.pending(), lost

    def collect(self, executor: Executor) -> ExecutionResult:
        """Wait for all files."""
        if self._coordinator.left:
            return executor.writer.collect(wait=True)
        result, error = ExecutionResult(), None
        try:
            result = executor.writer.collect(wait=True)  # empty but on rank 0
        except Exception as raised:  # noqa: BLE001 - raised on every rank
            error = raised
        data = self._coordinator.broadcast(result.to_json(), error)
        return result if self.leads else ExecutionResult.from_json(data)

    def close(self, executor: Executor) -> None:
        """Stop communicating with the other ranks."""
        if not self._coordinator.left:
            self._coordinator.left = True
            self._coordinated_stop.close()
            executor.detach()
            self._ranks.close()

    def _leave(self, error: BaseException, executor: Executor) -> None:
        """Leave the group and store the reason for the others; note on the error which ranks had left before."""
        self._coordinator.left, executor.collector.other_ranks = True, []
        ranks = self._ranks
        self._coordinated_stop.close()
        try:
            if not isinstance(error, RankError):
                left = {rank: ranks.get(f"left/{rank}") for rank in range(ranks.size)}
                ranks.put_if_absent(f"left/{self.rank}", describe_error(error))
                for rank, why in left.items():
                    if why is not None:
                        error.add_note(f"rank {rank} had left before: {why}")
        except RankError:  # no rank is left to read it
            pass
        executor.detach()
        ranks.close()


def _with_all_ranks(hook: str, given: Any, own: RunningMeans, all_ranks: RunningMeans) -> Any:
    """Return the arguments of a hook, with the metrics of all ranks in place of this rank's."""
    if hook == "on_validation_end":
        return {**given, **{metric: all_ranks[metric] for metric in all_ranks if metric.startswith("val_")}}
    return all_ranks if given is own else given


def _same_checkpoint(path: str, digest: str, share: VerificationShare) -> Checkpoint:
    """Read the checkpoint that rank 0 has found, and verify this rank's part of it."""
    known = any(entry.digest == digest for entry in entries_of(location(path)))
    checkpoint = read(location(path), share) if known else None
    if checkpoint is None or checkpoint.entry.digest != digest:
        raise SettingsError(f"{path!r} is not the file that rank 0 sees there; all ranks must see the same files")
    return checkpoint


def _first_difference(first: Mapping[str, Any], other: Mapping[str, Any], rank: int) -> str:
    """Describe how the callbacks of a rank differ from those of rank 0."""
    same = "list the same callbacks on every rank; rank 0 alone writes files"
    names: Iterable[str] = dict.fromkeys([*first, *other])
    for name in names:
        if name not in other or name not in first:
            return f"{name} is listed on {'rank 0' if name in first else f'rank {rank}'} only; {same}"
        for option in {**first[name], **other[name]}:
            one, two = first[name].get(option), other[name].get(option)
            if one != two:
                return f"{name} has {option}={one!r} on rank 0 and {two!r} on rank {rank}; {same}"
    return f"rank {rank} lists other callbacks than rank 0; {same}"
