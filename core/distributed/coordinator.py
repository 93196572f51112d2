"""The collectives of one run: barriers with decisions, metrics and errors."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, ParamSpec, Protocol, TypeVar

from ..capabilities import HasLearningRate, Ranks, has
from ..decision import NOTHING, Decision, Stop
from ..decision.json_format import decision_from_json, decision_to_json
from ..engine.execution_result import ExecutionResult
from ..engine.plan import EpochPlan, StepPlan
from ..engine.run_state import RankTime
from ..errors import RankError, SettingsError
from ..metrics.running_means import RunningMeans
from .coordinated_stop import CoordinatedStop
from .metric_reduction import MetricReducer
from .rank_times import EpochClock, row_of, times_in
from .rendezvous import BATCHES, PAYLOAD, SIZE, BarrierResult, Point, RankMismatch, Rendezvous, describe_failures

P = ParamSpec("P")
T = TypeVar("T")


class LoopState(Protocol):
    """The part of ``RunState`` that ranks compare and share."""

    subject: object
    epoch: int
    loops: int
    planned_batches: int | None
    plan: EpochPlan | StepPlan
    means: RunningMeans
    validated: bool
    rank_times: Sequence[RankTime]
    stat_sources: list[Callable[[], Mapping[str, float]]]
    requested: str
    quiet: bool
    interrupted: bool
    stop_actions: list[Stop]

    @property
    def batch(self) -> int:
        """The current batch of the epoch, counted from 0."""
        ...

    @property
    def loop_position(self) -> list[int]:
        """Numbers that only increase during a loop; may be read in any thread."""
        ...


class StopReceiver(Protocol):
    """Receives requests to end the run."""

    def receive(self, what: Mapping[str, str]) -> None:
        """Record a request of another rank; may be called in any thread."""
        ...

    def check(self) -> None:
        """Raise KeyboardInterrupt if the run was asked to end and may end here."""
        ...


def attempt(step: Callable[P, T], *values: P.args, **options: P.kwargs) -> tuple[T | None, Exception | None]:
    """Return the result of a step and None, or None and its error, which every rank must raise."""
    try:
        return step(*values, **options), None
    except Exception as error:  # noqa: BLE001 - raised on every rank
        return None, error


class Coordinator:
    """The collectives of one rank.

    Args:
        ranks: The processes.
        state: The plain data of the run.
    """

    def __init__(self, ranks: Ranks, state: LoopState) -> None:
        self.rendezvous = Rendezvous(ranks)
        self.coordinated_stop = CoordinatedStop(ranks, lambda: state.loop_position, self._receive)
        self.stop: StopReceiver | None = None
        """Receives the requests of other ranks to end the run."""
        self.proposed = NOTHING
        """The decisions of this rank's loop since the last barrier."""
        self.results = ExecutionResult()
        """The results of rank 0's background writes."""
        self.left = False
        """Whether this rank has left the others."""
        self.shared_error: BaseException | None = None
        """The last error that was raised on every rank."""
        self._state = state
        self._leads = ranks.rank == 0
        self._reducer = MetricReducer(ranks.rank)
        self.clock = EpochClock(lambda: self.rendezvous.waited)
        """Measures how long this rank is busy in an epoch."""
        self._pending = NOTHING
        self._uneven: tuple[int, int] | None = None

    @property
    def out_of_batches(self) -> bool:
        """Whether another rank has no more batches in the current loop."""
        return self._uneven == (self._state.epoch, self._state.loops)

    def pending(self) -> Decision:
        """Return the decisions of the loops of all ranks, once."""
        pending, self._pending = self._pending, NOTHING
        return pending

    def _receive(self, what: Mapping[str, str]) -> None:
        if self.stop is not None:
            self.stop.receive(what)

    @contextmanager
    def shared(self) -> Generator[None]:
        """If one rank raises an error in the block, raise it on all ranks."""
        if self.left:
            yield
            return
        error: Exception | None = None
        try:
            yield
        except Exception as raised:  # noqa: BLE001 - raised on every rank
            error = raised
        self.broadcast(None, error)

    def broadcast(self, value: Any, error: BaseException | None) -> Any:
        """Return rank 0's value on every rank, or raise an error on every rank."""
        met = self.barrier("answer", value=value, error=error)
        assert met is not None
        return met.value

    def barrier(self, point: Point, **exchanged: Any) -> BarrierResult | None:
        """Meet the other ranks; None if they have no such batch.

        Raises:
            Exception: This rank's own error.
            RankError: Another rank has failed, has left, or is gone.
            KeyboardInterrupt: The other ranks have left because of a stop request.
        """
        proposed, message = self.proposed, self._side_channel(point)
        try:
            met = self.rendezvous.barrier(point, self._place(point), side_channel=message, **exchanged)
        except RankMismatch as mismatch:
            self._read_side_channel(mismatch.side_channel)
            if self.stop is not None:
                self.stop.check()
            raise self.mark_shared(RankError(str(mismatch))) from None
        if met is None:
            self._uneven = self._state.epoch, self._state.loops
            return None
        if met.failed and point != "on_train_end":
            raise self.mark_shared(exchanged.get("error") or RankError(describe_failures(met.failed)))
        self.proposed = NOTHING if proposed is self.proposed else self.proposed
        self._read_side_channel(met.side_channel)
        return met

    def mark_shared(self, error: BaseException) -> BaseException:
        """Return an error that every rank is about to raise."""
        self.shared_error = error
        return error

    def _place(self, point: Point) -> Any:
        """Return the data that must be the same on all ranks at a point."""
        state = self._state
        if point in BATCHES:
            return {"epoch": state.epoch, "loop": state.loops, "batch": state.batch}
        if point in ("on_epoch_begin", "on_epoch_end"):
            rates = state.subject.learning_rates() if has(state.subject, HasLearningRate) else dict[str, float]()
            return {"epoch": state.epoch, **rates}
        return None

    def _side_channel(self, point: Point) -> dict[str, Any]:
        message: dict[str, Any] = {}
        if self._state.requested:
            message["requested"] = self._state.requested
            message["quiet"] = self._state.quiet
        if self.proposed:
            message["decision"] = decision_to_json(self.proposed)
        if self._leads and point == "on_epoch_end" and any(self.results):
            message["results"] = self.results.to_json()
        return message

    def _read_side_channel(self, messages: Sequence[Mapping[str, Any]]) -> None:
        for message in messages:
            if message.get("requested"):
                self._receive({"request": message["requested"], **({"quiet": "yes"} if message.get("quiet") else {})})
                self.coordinated_stop.reset()
            self._pending |= decision_from_json(message.get("decision", ()))
            if "results" in message and not self._leads:
                self.results = ExecutionResult.from_json(message["results"])

    def reduce(self, point: Point, error: Exception | None = None) -> RunningMeans | None:
        """Return the metrics of all ranks; None if other ranks have no such batch."""
        reducer, rendezvous, state = self._reducer, self.rendezvous, self._state
        reducer.take(state.means)
        times = self._times(len(reducer.row())) if point == "on_epoch_end" else []
        values = [float(state.validated), *times, *reducer.row()]
        met = self.barrier(point, values=values, layout=reducer.layout, error=error)
        if met is None:
            return None
        sums = met.sums
        if not met.same_layout:
            try:
                reducer.agree(rendezvous.all_gather(reducer.layout))
            except SettingsError as raised:
                raise self.mark_shared(raised) from None
            sums = rendezvous.sum([float(state.validated), *times, *reducer.row()])
        candidates = reducer.candidates()
        extremes = rendezvous.maximum(candidates) if candidates else []
        state.validated = sums[0] > 0
        if point == "on_epoch_end":
            state.rank_times = times_in(sums[1 : 1 + len(times)])
        return reducer.means(sums[1 + len(times) :], extremes)

    def _times(self, others: int) -> list[float]:
        """Return the times of this rank, if those of all ranks fit into the same message as so many other values."""
        ranks = self.rendezvous.ranks
        row = row_of(self.clock.read(), ranks.rank, ranks.size)
        return row if 1 + len(row) + others <= SIZE - PAYLOAD else []
