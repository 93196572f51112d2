"""How a run meets the other processes that train the same subject, if there are any."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

from ..capabilities import HasLearningRate, HasRanks, missing
from ..decision import NOTHING, Decision, decision_from_json, decision_to_json
from ..engine.executor import ExecutionResult
from ..engine.signals import DEFAULT
from ..errors import RankError, SettingsError
from ..metrics.running_means import RunningMeans
from ..storage.paths import Source
from .coordinated_stop import CoordinatedStop
from .leaving import Leaving
from .metric_reduction import MetricReducer
from .outcomes import NO_NEWS, outcome_from_plain, outcome_to_plain
from .rendezvous import BarrierResult, Point, RankMismatch, Rendezvous, describe_failures

__all__ = ["BATCHES", "Meetings"]

T = TypeVar("T")

BATCHES = frozenset({"on_batch_begin", "on_batch_end"})


class Meetings(Leaving):
    """A run that may be one of several, each in a process of its own, and meets the others.

    Args:
        subject: what is trained.
        resume: as in `Run`.
        resume_strict: as in `Run`.
        signals: as in `Run`.
    """

    def __init__(
        self,
        subject: object,
        *,
        resume: Source | None = None,
        resume_strict: bool = False,
        signals: Iterable[str] = DEFAULT,
    ) -> None:
        super().__init__(subject, resume=resume, resume_strict=resume_strict, signals=signals)
        self._agreement: Rendezvous | None = None
        self._verdict: BaseException | None = None
        self._proposed = self._heeded = NOTHING  # what loops decide: this one, since the last meeting, and all of them
        self._news = NO_NEWS
        self._uneven = False  # whether another rank has no batches any more
        ranks = subject.ranks() if isinstance(subject, HasRanks) and missing(subject, HasRanks) is None else None
        if ranks is not None:
            self.rank, self.world_size = ranks.rank, ranks.size
            self._agreement = Rendezvous(ranks)
            self._reduction = MetricReducer(ranks.rank)
            self._departure = CoordinatedStop(ranks, self._place, self._hear)

    def begin_loop(self, loader: Iterable[T]) -> tuple[Iterable[T], int]:
        """A loop over the batches of the epoch begins; what to go through, and the number of its first batch."""
        self._uneven = False
        return super().begin_loop(loader)

    def _meet(self, point: Point, **said: Any) -> BarrierResult | None:
        """Meet the other ranks; None where they have no such batch any more.

        Raises:
            Exception: what this rank says that it has failed by.
            RankError: another rank has failed, has left, or is gone.
            KeyboardInterrupt: the others have left since they were asked to.
        """
        assert self._agreement is not None
        proposed, aside = self._proposed, self._aside(point)
        try:
            met = self._agreement.meet(point, self._common(point), aside=aside, **said)
        except RankMismatch as verdict:
            self._heed(verdict.asides)
            self.obey_request()
            raise self._shared(RankError(str(verdict))) from None
        if met is None:
            self._uneven = True
            return None
        if met.failed and point != "on_train_end":
            raise self._shared(said.get("error") or RankError(describe_failures(met.failed)))
        self._proposed = NOTHING if proposed is self._proposed else self._proposed
        self._heed(met.asides)
        return met

    def _agreed(self, value: Any, error: BaseException | None) -> Any:
        """Rank 0's value on every rank, or an error on every rank."""
        met = self._meet("answer", value=value, error=error)
        assert met is not None
        return met.value

    @contextmanager
    def _sharing(self) -> Generator[None]:
        """What is raised inside on any rank is raised on all."""
        if self._agreement is None:
            yield
            return
        error: Exception | None = None
        try:
            yield
        except Exception as raised:  # noqa: BLE001 - raised on every rank
            error = raised
        self._agreed(None, error)

    def _shared(self, error: BaseException) -> BaseException:
        """An error that is raised on every rank."""
        self._verdict = error
        return error

    def _common(self, point: Point) -> Any:
        """What must be the same on all ranks at a point."""
        if point in BATCHES:
            return {"epoch": self.epoch, "loop": self._loops, "batch": self._counters.present_batch}
        if point in ("on_epoch_begin", "on_epoch_end"):
            return {"epoch": self.epoch, **self._learning_rates()}
        return None

    def _aside(self, point: Point) -> dict[str, Any]:
        """What this rank has to say besides."""
        said: dict[str, Any] = {}
        if self.requested:
            said["requested"] = self.requested
        if self._proposed:
            said["decision"] = decision_to_json(self._proposed)
        if self.rank == 0 and point == "on_epoch_end" and any(self._news):
            said["news"] = outcome_to_plain(self._news)
        return said

    def _heed(self, asides: Sequence[Mapping[str, Any]]) -> None:
        for aside in asides:
            if aside.get("requested"):
                self._hear({"request": aside["requested"]})
                if self._departure is not None:
                    self._departure.settle()
            self._heeded |= decision_from_json(aside.get("decision", ()))
            if "news" in aside and self.rank:
                self._news = outcome_from_plain(aside["news"])

    def _take_heeded(self) -> Decision:
        heeded, self._heeded = self._heeded, NOTHING
        return heeded

    # --- metrics and news

    def _measured(self, point: Point) -> RunningMeans | None:
        """The metrics of all ranks; None where other ranks have no such batch."""
        self._reduction.take(self.means)
        row = [float(self.validated), *self._reduction.row()]
        error = None
        if point == "on_epoch_end":
            try:
                self._news = self._bus.written(wait=False)
            except Exception as raised:  # noqa: BLE001 - raised on every rank
                error = raised
        met = self._meet(point, row=row, layout=self._reduction.layout, error=error)
        if met is None:
            return None
        row, agreement = met.row, self._agreement
        assert agreement is not None
        if not met.alike:
            try:
                self._reduction.agree(agreement.everywhere(self._reduction.layout))
            except SettingsError as raised:
                raise self._shared(raised) from None
            row = agreement.sum([float(self.validated), *self._reduction.row()])
        candidates = self._reduction.candidates()
        chosen = agreement.maximum(candidates) if candidates else []
        self.validated = row[0] > 0
        return self._reduction.means(row[1:], chosen)

    def _means_of_all(self) -> RunningMeans:
        """The metrics of the epoch that is over."""
        if self._agreement is None:
            return self.means
        means = self._measured("on_epoch_end")
        assert means is not None
        return means

    def _written(self) -> ExecutionResult:
        """What became of the files that were being written, as far as it is known."""
        if self._agreement is None:
            return self._bus.written(wait=False)
        news, self._news = self._news, NO_NEWS
        return news

    def _learning_rates(self) -> Mapping[str, float]:
        return self.subject.learning_rates() if isinstance(self.subject, HasLearningRate) else {}
