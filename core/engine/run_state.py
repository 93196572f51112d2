"""Where a training run stands: what plugins, loops and adapters read of it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Literal

from ..callback import Callback
from ..checkpoints import Checkpoint
from ..decision import Decision, Stop
from ..errors import LoopError, MissingMetric, SettingsError
from ..failures import Failure
from ..metrics.history import History
from ..metrics.monitor import Monitor
from ..metrics.running_means import RunningMeans
from ..result import Result
from ..resume.state import Position
from ..storage.paths import Location
from .bus import Bus
from .counters import Counters

__all__ = ["RunState"]


class RunState:
    """Where a training run stands.

    Args:
        subject: what is trained.
    """

    def __init__(self, subject: object = None) -> None:
        self.subject = subject
        self.callbacks: dict[str, Callback] = {}
        """Name of a plugin to the callback that made it."""
        self.plugins: dict[str, object] = {}
        self.rank = 0
        """Number of this process among those that train the subject together, counted from 0."""
        self.world_size = 1
        """How many processes train the subject together."""
        self.epoch = 0
        self.planned_epochs: int | None = None
        self.planned_batches: int | None = None
        self.validation_freq: int | Collection[int] | None = 1
        """Which epochs have a validation, as in Keras: every n-th, or these (counted from 1), so none where this is
        empty; None where unknown."""
        self.validated = False
        """Whether the present epoch has had a validation."""
        self.metrics: Mapping[str, Any] = {}
        """The metrics of the last epoch that ended."""
        self.means = RunningMeans()
        """The running means of the present epoch."""
        self.past: list[tuple[int, Mapping[str, Any]]] = []
        """Each epoch that is over, with its metrics."""
        self.decided: list[tuple[int, Decision]] = []
        """Each decision that was carried out, with its epoch; with those from before a resume."""
        self.error: BaseException | None = None
        self.stops: list[Stop] = []
        self.checkpoints: list[Checkpoint] = []
        """All that were committed, also those that were replaced or forgotten since."""
        self.resumed: Checkpoint | None = None
        """The checkpoint that this run goes on from; None where it began afresh."""
        self.requested = ""
        """The signal, or the stop file, that asked for the end of the run; empty for none."""
        self.interrupted = False
        """Whether that has ended the run, between two batches and before the planned end."""
        self._files: dict[Location, None] = {}
        self._going: list[Location] = []  # those that the last decision about files forgets, perhaps in the background
        self._began = self._ended = 0  # numbers of epochs that began and that are over
        self._loops: int = 0
        self._counters = Counters()
        self._monitors: dict[tuple[str, str], Monitor] = {}
        self._state: Literal["new", "open", "ended"] = "new"
        self._bus = Bus(subject)

    @property
    def batch(self) -> int:
        """The present batch of the epoch, or its last, counted from 0."""
        return self._counters.present_batch

    @batch.setter
    def batch(self, batch: int) -> None:
        self._counters.batch = batch

    @property
    def step(self) -> int:
        """Weight updates made in the whole run; a loop with updates of its own counts them here."""
        return self._counters.present_step

    @step.setter
    def step(self, step: int) -> None:
        if step < self.step:
            raise LoopError(
                f"step={step} after step {self.step}: checkpoints and curves are told apart by the step, which only "
                "grows; count the weight updates of the whole run"
            )
        self._counters.steps += step - self.step

    @property
    def files(self) -> list[Location]:
        """The checkpoints that were written and not forgotten since, in the order of their last writing."""
        return list(self._files)

    @property
    def position(self) -> Position:
        """How far the run has come."""
        if self._began == self._ended:
            return Position(epochs=self._ended)
        loops, batches = max(self._loops - 1, 0), self._counters.present_done
        return Position(epochs=self.epoch, inside=True, loops=loops, batches=batches)

    @property
    def stopped(self) -> bool:
        """Whether a decision asked for the end of the training."""
        return bool(self.stops)

    @property
    def failures(self) -> list[Failure]:
        """What went wrong without ending the run: errors of observers, what plugins go without, lost checkpoints."""
        return list(self._bus.failures.all)

    def note_failure(self, plugin: object, lost: str, error: Exception) -> None:
        """Tell of what a plugin goes on without: in one line, in `failures` and so in the journal.

        It does not count towards the failures after which an observer is switched off. A plugin's thread may call it,
        too.

        Args:
            plugin: which goes on.
            lost: what is lost, in a few words: "no graph".
            error: why.
        """
        name = next((name for name, each in self.plugins.items() if each is plugin), type(plugin).__name__)
        self._bus.failures.note(name, error, lost)

    @property
    def history(self) -> History:
        """Name to values, one for each epoch that ended: a dict of lists that also gives arrays and frames."""
        return History(self.past)

    @property
    def result(self) -> Result:
        """How the run ended, or how it stands."""
        best = {monitor.metric: monitor.best for monitor in self._monitors.values() if monitor.best is not None}
        rates = {name: values for name, values in self.history.items() if name.split("/")[0] == "learning_rate"}
        reason = "; ".join(dict.fromkeys(each.reason for each in self.stops)) or self._plain_reason()
        files, failures = tuple(self._files), tuple(self.failures)
        decisions = tuple(self.decided)
        return Result(len(self.past), self.stopped, reason, best, files, rates, failures, decisions)

    def monitor(self, metric: str, mode: Literal["auto", "min", "max"] = "auto") -> Monitor:
        """The watched metric of this name; every plugin that asks for the same one gets the same.

        Raises:
            UnknownDirection: mode is "auto" and nothing tells which way the metric improves.
        """
        if (metric, mode) not in self._monitors:
            self._monitors[metric, mode] = Monitor(self, metric, mode)
        return self._monitors[metric, mode]

    def validates(self, epoch: int) -> bool:
        """Whether metrics named `val_` are due by the end of the epoch.

        It has had a validation, or should have had one, or no epoch ever will: then there is no use in waiting.
        """
        freq = self.validation_freq
        if self.validated or freq is None:
            return self.validated
        return (epoch + 1) % freq == 0 if isinstance(freq, int) else epoch + 1 in freq or not freq

    def _watch(self) -> None:
        """Let every watched metric see the epoch that is over.

        Raises:
            MissingMetric: one is not among the metrics, though it should be.
        """
        problems: list[str] = []
        for monitor in self._monitors.values():
            try:
                monitor.watch(self.metrics, self.epoch)
            except SettingsError as error:
                if len(self._monitors) == 1:
                    raise
                problems.append(str(error))
        if problems:
            raise MissingMetric("\n".join(dict.fromkeys(problems)))

    def _plain_reason(self) -> str:
        if isinstance(self.error, KeyboardInterrupt):
            return "interrupted"
        if self.error is not None:
            return f"{type(self.error).__name__}: {self.error}"
        if self._state != "ended":
            return "not over yet"
        return "all epochs done" if self.epoch + 1 == self.planned_epochs else "the loop ended"
