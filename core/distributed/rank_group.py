"""Several processes that decide as one."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any, ParamSpec, TypeVar, cast

from ..capabilities import HasRanks, JoinsRanks, Ranks, has, supports
from ..decision import NOTHING, Decision, Forget, Restore, Save, Stop
from ..decision.json_format import decision_from_json, decision_to_json
from ..engine.dispatch import CompiledHook
from ..engine.execution_result import ExecutionResult
from ..engine.executor import Executor, needs_files
from ..errors import LoopError, RankError, SettingsError
from ..failures import LOG, is_observer, is_on_every_rank
from ..metrics.running_means import RunningMeans
from ..resume.state import RankState
from .coordinator import Coordinator, LoopState, StopReceiver, attempt
from .follower import Follower
from .group import Group, Solo, execute_alone
from .notices import Notices
from .rank_times import slow_rank, stats_of
from .rendezvous import BATCHES, Point, describe_error, describe_failures
from .shared_resume import SharedResume

P = ParamSpec("P")
T = TypeVar("T")

WITH_METRICS = frozenset({"on_batch_end", "on_validation_end"})
"""Hooks before which the metrics of all ranks are reduced."""
AFTER_METRICS = frozenset({*WITH_METRICS, "on_epoch_end"})
"""Hooks that follow such a barrier; at the end of an epoch it is that of ``epoch_results``."""
DECIDING = frozenset({"on_train_begin", "on_epoch_begin", *BATCHES, "on_validation_begin", *AFTER_METRICS})
"""Hooks whose decision is that of rank 0."""
ON_RANK_0 = frozenset(
    {"watch_stop_file", "log_end", "prune_snapshots", "report", "report_undone", "remove_ends", "write_ends"}
)
"""Steps that only rank 0 executes, and that no rank waits for."""


def group_for(subject: object, state: LoopState) -> Group:
    """Return the processes that train the subject: ``RankGroup`` for several, ``Solo`` for one."""
    ranks = subject.ranks() if supports(subject, HasRanks) else None
    return Solo() if ranks is None else RankGroup(ranks, state)


class RankGroup:
    """Several processes that decide as one; ``Group`` documents the methods.

    Args:
        ranks: The processes.
        state: The plain data of the run.
    """

    def __init__(self, ranks: Ranks, state: LoopState) -> None:
        self.rank, self.size = ranks.rank, ranks.size
        self._leads = ranks.rank == 0
        self._ranks = ranks
        self._state = state
        self._coordinator = Coordinator(ranks, state)
        self._coordinated_stop = self._coordinator.coordinated_stop
        self._agreed: Decision | None = None
        """The last decision that all ranks have."""
        self._closed = False
        state.stat_sources.append(lambda: stats_of(state.rank_times))
        self._slow: int | None = None
        """The rank that was reported as slow."""
        self._checked_loop: tuple[int, int] | None = None
        """The epoch and the number of the loop over batches in which the ranks have compared their batches."""
        notices = Notices(ranks)
        resume = SharedResume(self._coordinator, ranks.rank, ranks.size)
        self._wrappers: dict[str, Callable[..., Any]] = {
            **{name: partial(self._decide, name) for name in DECIDING},
            **dict.fromkeys(ON_RANK_0, self._on_rank_0),
            "lock_directories": self._share_rank_0,
            "find_checkpoint": resume.find,
            "load_checkpoint": resume.load,
            "remaining_actions": self._remaining_actions,
            "start_epoch": self._start_epoch,
            "epoch_results": self._epoch_results,
            "last_decision": self._last_decision,
            "decision_about_error": self._last_decision,
            "last_files": self._last_files,
            "gather_states": self._gather_states,
            "post_notice": notices.post,
            "read_notices": notices.read,
        }

    def calls(self, plugin: object) -> bool:
        """Return whether the plugin decides, or this is rank 0, or it observes every rank."""
        return self._leads or not is_observer(plugin) or is_on_every_rank(plugin)

    def bind(self, name: str, step: Callable[P, T]) -> Callable[P, T]:
        """Return a function that executes the step together with the other ranks."""
        return cast("Callable[P, T]", partial(self._wrappers.get(name, self._share), step))

    def begin(self, settings: Mapping[str, Any], stop: StopReceiver) -> None:
        """Check that all ranks list the same callbacks, and start to listen to stop requests."""
        self._coordinator.stop = stop
        first, *others = self._coordinator.rendezvous.all_gather(dict(settings))
        for rank, other in enumerate(others, start=1):
            if other != first:
                raise self._coordinator.mark_shared(SettingsError(_first_difference(first, other, rank)))
        self._coordinated_stop.start()

    def execute(
        self, decision: Decision, executor: Executor, record: Callable[[ExecutionResult], object]
    ) -> ExecutionResult:
        """Execute the decision on rank 0, then on the others; an error on one rank is raised on all."""
        if self._coordinator.left:
            return execute_alone(decision, executor, record)
        if decision is not self._agreed:
            self._propose(decision)
            return ExecutionResult()
        if decision.stops:
            self._coordinated_stop.reset()
        if all(isinstance(action, Stop) for action in decision):
            return ExecutionResult(decision)
        earlier = ExecutionResult()
        if needs_files(decision):
            finish = partial(executor.finish_earlier, decision) if self._leads else ExecutionResult
            earlier = self._result_of_rank_0(*attempt(finish))
            record(earlier)
        saves = not executor.is_collective and any(isinstance(action, Save) for action in decision)
        others, follower = self._gather_states(lambda: [executor.rank_state()])[1:] if saves else [], Follower(executor)
        step = partial(executor.execute, other_ranks=others, earlier=earlier) if self._leads else follower.execute
        result = self._result_of_rank_0(*attempt(step, decision))
        if any(isinstance(action, (Restore, Forget)) for action in decision):
            with self._coordinator.shared():
                if not self._leads:
                    follower.finish(decision)
        return result

    def _gather_states(self, step: Callable[[], list[RankState]]) -> list[RankState]:
        """Return, on rank 0, the states of all ranks, those after the first as differences; none once it has left."""
        if self._coordinator.left:
            return []
        (own,) = step()
        gathered = self._coordinator.rendezvous.gather(own.compressed().model_dump())
        states = [RankState.model_validate(each) for each in gathered]
        return [*states[:1], *(each.difference_from(states[0]) for each in states[1:])]

    def _propose(self, decision: Decision) -> None:
        """Keep the decision until the next barrier; ask all ranks to stop at once if it stops the run."""
        self._coordinator.proposed |= decision
        for action in decision:
            if isinstance(action, Stop):
                self._coordinated_stop.request({"stop": action.reason})
                self._state.stop_actions.append(action)

    def request_stop(self, what: Mapping[str, str]) -> None:
        """Ask all ranks to end."""
        self._coordinated_stop.request(dict(what))

    def may_stop(self) -> bool:
        """Return whether all ranks are at the same batch."""
        return self._coordinated_stop.idle or self._coordinated_stop.at_last_batch()

    @contextmanager
    def end(self, error: BaseException | None, executor: Executor) -> Generator[BaseException | None]:
        """Meet at the end of the run, or leave if only this rank has failed: the others may wait for it in a batch."""
        ended_by = self._arrive(error, executor)
        try:
            yield ended_by
        finally:
            self._close(executor)

    # --- steps: of each, ``bind`` makes a function that takes the arguments of the step

    def _share(self, step: Callable[..., T], *values: Any, **options: Any) -> T:
        """Execute the step on every rank; if one rank raises an error, raise it on all."""
        with self._coordinator.shared():
            return step(*values, **options)

    def _on_rank_0(self, step: Callable[..., object], *values: Any) -> None:
        """Execute the step on rank 0; no rank waits."""
        if self._leads:
            step(*values)

    def _share_rank_0(self, step: Callable[..., None], *values: Any) -> None:
        """Execute the step on rank 0; raise its error on all ranks."""
        self._share(self._on_rank_0, step, *values)

    def _decide(self, name: str, hook: CompiledHook, run: object, *values: Any) -> Decision | None:
        """Call the plugins on every rank with the metrics of all ranks; return the decision of rank 0's plugins."""
        if name in BATCHES:
            if self._coordinator.out_of_batches:
                return None
            self._check_joined()
        if name in WITH_METRICS:
            means = self._coordinator.reduce(cast("Point", name))
            if means is None:
                return None
            values = (*values[:-1], _with_all_ranks(name, values[-1], self._state.means, means))
        decision, error = attempt(hook, run, *values)
        point = "answer" if name in AFTER_METRICS else cast("Point", name)
        met = self._coordinator.barrier(point, value=decision_to_json(decision or NOTHING), error=error)
        return None if met is None else self._agree(met.value) or None

    def _check_joined(self) -> None:
        """Refuse batches at which ranks would wait for ranks that only serve their collective operations."""
        state, loop = self._state, (self._state.epoch, self._state.loops)
        if self._checked_loop == loop or not has(state.subject, JoinsRanks):
            return
        self._checked_loop = loop
        if state.subject.joins_ranks():
            every = self._coordinator.rendezvous.all_gather(state.planned_batches)
            if None in every or len(set(every)) > 1:
                batches = ", ".join("unknown" if each is None else str(each) for each in every)
                raise self._coordinator.mark_shared(
                    LoopError(
                        "inside join() a rank without batches waits for the training of the others, and these would "
                        "wait for it where a callback decides at batches, as with ModelCheckpoint(save_freq=...); save "
                        f"at epochs, or give all ranks equally many batches (now: {batches})"
                    )
                )

    def _agree(self, actions: Iterable[Mapping[str, Any]]) -> Decision:
        """Return the joint decision of all ranks: rank 0's, and those of loops since the last barrier."""
        self._agreed = decision_from_json(actions) | self._coordinator.pending()
        return self._agreed

    def _epoch_results(
        self, step: Callable[[], tuple[RunningMeans, ExecutionResult]]
    ) -> tuple[RunningMeans, ExecutionResult]:
        """Reduce the means; rank 0's results of background writes come with the same barrier."""
        own, error = attempt(step)
        self._coordinator.results = ExecutionResult() if own is None else own[1]
        reduced = self._coordinator.reduce("on_epoch_end", error)
        assert reduced is not None
        results, self._coordinator.results = self._coordinator.results, ExecutionResult()
        self._report_slow()
        return reduced, results

    def _start_epoch(self, step: Callable[[int], None], epoch: int) -> None:
        """Begin the epoch, and to measure how long this rank is busy."""
        step(epoch)
        self._coordinator.clock.begin()

    def _report_slow(self) -> None:
        """Log, on rank 0, a rank that is slow, once until another one is."""
        found = slow_rank(self._state.rank_times, self._state.plan.unit)
        rank = None if found is None else found[0]
        if found is not None and rank != self._slow and self._leads:
            LOG.warning("%s", found[1])
        self._slow = rank

    def _remaining_actions(self, step: Callable[[], ExecutionResult]) -> ExecutionResult:
        """Return rank 0's remaining actions on every rank."""
        result = self._result_of_rank_0(*attempt(step if self._leads else ExecutionResult))
        self._agreed = result.done
        return result

    def _result_of_rank_0(self, result: ExecutionResult | None, error: Exception | None) -> ExecutionResult:
        """Return rank 0's result on every rank, or raise an error on every rank."""
        data = self._coordinator.broadcast(None if result is None else result.to_json(), error)
        return result if self._leads and result is not None else ExecutionResult.from_json(data)

    # --- the end

    def _arrive(self, error: BaseException | None, executor: Executor) -> BaseException | None:
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

    def _last_decision(
        self, call: Callable[..., tuple[Decision, list[Exception]]], *values: Any
    ) -> tuple[Decision, list[Exception]]:
        """Call the plugins on every rank; return the decision of rank 0's, and the errors that this rank raises."""
        decision, errors = call(*values)
        if self._coordinator.left:
            return (decision if self._leads else NOTHING), errors
        failure = errors[0] if errors else None
        try:
            met = self._coordinator.rendezvous.barrier("answer", value=decision_to_json(decision), error=failure)
        except RankError as lost:
            self._coordinator.left = True
            return NOTHING, [*errors, lost]
        assert met is not None
        if met.failed and not errors:
            errors.append(RankError(describe_failures(met.failed)))
        return self._agree(met.value), errors

    def _last_files(self, step: Callable[[], ExecutionResult]) -> ExecutionResult:
        """Wait for all files on every rank, and return rank 0's result; a rank that has left waits for its own."""
        if self._coordinator.left:
            return step() if self._leads else ExecutionResult()
        return self._result_of_rank_0(*attempt(step))

    def _leave(self, error: BaseException, executor: Executor) -> None:
        """Leave the group and store the reason for the others; add a note about ranks that had left before."""
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
        self._close(executor)

    def _close(self, executor: Executor) -> None:
        """Stop communicating with the other ranks; a second call has no effect."""
        if not self._closed:
            self._closed = self._coordinator.left = True
            self._coordinated_stop.close()
            executor.close()
            self._ranks.close()


def _with_all_ranks(hook: str, given: Any, own: RunningMeans, all_ranks: RunningMeans) -> Any:
    """Return the arguments of a hook, with the metrics of all ranks in place of this rank's."""
    if hook == "on_validation_end":
        return {**given, **all_ranks.read_validation()}
    return all_ranks if given is own else given


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
