"""The plain data of a run: counters, metrics, history, decisions and checkpoints."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Literal, NamedTuple

from ..checkpoints import Checkpoint
from ..checkpoints.run_files import RunFiles
from ..decision import REQUEST, Decision, Stop
from ..errors import LoopError
from ..limits import WHOLE_NUMBER
from ..metrics.extremes import Extremes, known_epochs
from ..metrics.history import STEP
from ..metrics.missing_metric import MetricAdvice
from ..metrics.origin import Origin
from ..metrics.running_means import RunningMeans
from ..resume.run_history import Followed
from ..resume.state import Position
from ..settings.arguments import whole_number
from ..storage.paths import Location, Source
from .counters import Counters
from .end_reason import reason_of
from .execution_result import ExecutionResult
from .plan import EpochPlan, StepPlan


class RankTime(NamedTuple):
    """The seconds of one rank in one epoch."""

    busy: float
    """From the epoch's beginning until the rank met the others at its end, without its waits at meetings of the run."""
    computed: float
    """The processor time of the training thread meanwhile; a wait for other ranks or for data does not count."""


class SavedCheckpoint(NamedTuple):
    """A checkpoint that a run has committed."""

    path: Location
    """Its path, as it was given."""
    epoch: int
    """The epoch, counted from 0, in which it was saved."""
    step: int
    """Weight updates of the run until then."""


class RunState:
    """The plain data of one run: the parts of the run read it and record into it.

    Args:
        subject: The object that is trained.
    """

    def __init__(self, subject: object = None) -> None:
        self.subject = subject
        self.run_id = secrets.token_hex(8)
        """Identifier of the run; a resumed run keeps that of its checkpoint, unless it has one of its own."""
        self.has_own_id = False
        """Whether the identifier was given or is part of a path."""
        self.continued_id = ""
        """The identifier of the run whose checkpoint this run continues; empty if it continues none."""
        self.origin = Origin()
        """How far the training had come before the run began."""
        self.hparams: Mapping[str, Any] = {}
        """The hyperparameters that were given to the run, or to the one that it resumes."""
        self.phase: Literal["new", "open", "ended"] = "new"
        self.epoch = 0
        """The current epoch, or the last one, counted from 0."""
        self.epochs_started = 0
        self.epochs_finished = 0
        self.epoch_open = False
        """Whether an epoch has begun and not ended, so that what is logged counts."""
        self.left = False
        """Whether the loop was left before its last epoch had ended, as by ``break``."""
        self.loops = 0
        """Loops over batches that were started in the current epoch."""
        self.counters = Counters()
        self.plan: EpochPlan | StepPlan = EpochPlan()
        """What the loop trains for: epochs, or steps."""
        self.planned_batches: int | None = None
        """Batches of the current epoch; None if unknown."""
        self.draws_again = True
        """Whether the loop draws the batches of an interrupted epoch again."""
        self.validation_freq: int | Collection[int] | None = 1
        """Which epochs have a validation, as in Keras: every n-th epoch, or these epochs (counted from 1; no epoch if
        empty). None if unknown."""
        self.validated = False
        """Whether the current epoch has had a validation."""
        self._broken_off = False  # whether a validation of the epoch has raised an error
        self.validating = False
        """Whether a validation is running."""
        self.metric_advice = MetricAdvice()
        """What the user writes to have a metric logged."""
        self.means = RunningMeans()
        """The running means of the current epoch."""
        self.reported: Mapping[str, Any] | None = None
        """The means that an adapter has reported at the end of the last batch; None if they are ``means``."""
        self.rank_times: Sequence[RankTime] = ()
        """How long each rank was busy in the last epoch; empty for one process."""
        self.stat_sources: list[Callable[[], Mapping[str, float]]] = []
        """What returns measurements when an epoch ends: of the machine, the loader, the ranks."""
        self.stats: Mapping[str, float] = {}
        """The measurements of the last epoch: no metrics, so that no rule can monitor them."""
        self.script_learning_rates: Mapping[str, float] = {}
        """The rates that the script had set before the run began."""
        self.script_options: Mapping[str, str] = {}
        """The optimizer options that the script had set before the run began, as text."""
        self.learning_rates: Mapping[str, float] = {}
        """The learning rates of the first weight update of the current epoch, or of its beginning before that."""
        self.metrics: Mapping[str, Any] = {}
        """The metrics of the last epoch that ended."""
        self.epoch_metrics: list[tuple[int, Mapping[str, Any]]] = []
        """Each epoch that ended, with its metrics, including those before a resume; in a loop by steps, each interval,
        also with its "step"."""
        self.earlier_epochs = 0
        """How many epochs ended before these, or between them, of which a resume has found no history."""
        self.extremes = Extremes()
        """The epochs with extreme metrics, and the last."""
        self.decision_log: list[tuple[int, Decision]] = []
        """Each decision that was executed, with its epoch, including those before a resume."""
        self.idle: list[object] = []
        """The callbacks that can never act in what the loop trains, as was reported before the training."""
        self.stop_actions: list[Stop] = []
        """The stops that end the run."""
        self.checkpoints: list[SavedCheckpoint] = []
        """Every checkpoint that was committed, including those that were replaced or deleted since."""
        self.files = RunFiles()
        """The checkpoints that were written and not deleted since."""
        self.followed: Followed | None = None
        """The history that a resumed run continues."""
        self.resume: Source | None = None
        """What the run was to be resumed from, as it was given; None for nothing, or for a state."""
        self.resumed: Checkpoint | None = None
        """The checkpoint that the run was resumed from; None if it was not."""
        self.stays_over = False
        """Whether the run was finished when it was resumed, so that it does not train."""
        self.end_is_missing = False
        """Whether such a run was killed before its end was complete, so that the resumed run ends it."""
        self.requested = ""
        """The signal or the stop file that asked the run to end; empty if none did."""
        self.quiet = False
        """Whether the request ends the run without an exception."""
        self.interrupted = False
        """Whether that request has ended the run before its planned end."""
        self.error: BaseException | None = None
        """What ended the run, if an error did."""

    def continue_run(self, run_id: str) -> None:
        """Continue the run with this identifier, which becomes the run's unless it has one of its own."""
        self.continued_id = run_id
        if run_id and not self.has_own_id:
            self.run_id = run_id

    @property
    def batch(self) -> int:
        """The current batch of the epoch, or its last, counted from 0."""
        return self.counters.current_batch

    @batch.setter
    def batch(self, batch: int) -> None:
        self.counters.batch = batch

    @property
    def step(self) -> int:
        """Total weight updates of the run.

        Raises:
            LoopError: It is set to less than it is.
            SettingsError: It is no whole number, or has more than 64 bits.
        """
        return self.counters.current_step

    @step.setter
    def step(self, step: int) -> None:
        if type(step) is not int or step > WHOLE_NUMBER:
            step = whole_number("step", step, 0, most=WHOLE_NUMBER)
        if step < self.step:
            raise LoopError(
                f"step={step} after step {self.step}: checkpoints and curves are identified by their step, which must "
                "only grow; count all weight updates of the run"
            )
        self.counters.steps += step - self.step

    @property
    def position(self) -> Position:
        """How far the run has come."""
        if self.epochs_started == self.epochs_finished:
            return Position(epochs=self.epochs_finished)
        loops, batches = max(self.loops - 1, 0), self.counters.current_trained_batches
        in_loop = self.loops > 0 or batches > 0  # some adapters count batches without a loop
        return Position(epochs=self.epoch, mid_epoch=True, in_loop=in_loop, loops=loops, batches=batches)

    @property
    def loop_position(self) -> list[int]:
        """Epoch, loop and trained batches: numbers that only increase. May be read in any thread."""
        while True:
            try:
                return [self.epoch, self.loops, self.counters.current_trained_batches]
            except IndexError:  # the loop was closed between two instructions
                continue

    def restore_counters(self, step: int, trained_batches: int) -> None:
        """Set the weight updates of the run, and how many batches of the current loop were trained on."""
        self.step = step
        self.counters.trained_batches = trained_batches
        self.batch = max(trained_batches - 1, 0)

    def begin_at(self, origin: Origin) -> None:
        """Count from the epoch and the step that a training had reached before the run began."""
        self.origin = origin
        self.epochs_started = self.epochs_finished = origin.epoch
        self.epoch, self.step = origin.last_epoch, origin.step

    def validates(self, epoch: int) -> bool:
        """Whether the metrics of a validation are due by the end of the epoch.

        They are due if the epoch has had a validation, if it should have had one, or if no epoch has one, since it is
        then useless to wait for a later epoch. They are not due if each validation of the epoch has raised an error.
        """
        freq = self.validation_freq
        if self.validated or self._broken_off or freq is None:
            return self.validated
        return (epoch + 1) % freq == 0 if isinstance(freq, int) else epoch + 1 in freq or not freq

    def restore_end(
        self,
        epochs: int,
        step: int,
        epoch_metrics: list[tuple[int, Mapping[str, Any]]],
        decision_log: list[tuple[int, Decision]],
    ) -> None:
        """Restore the data of a finished run; no checkpoint has stored its last epochs."""
        later = sum(epoch >= self.epochs_finished for epoch, _ in epoch_metrics)
        total = self.earlier_epochs + len(self.epoch_metrics) + later
        self.earlier_epochs, self.extremes = total - len(epoch_metrics), known_epochs(epoch_metrics)
        self.epochs_started = self.epochs_finished = epochs
        self.epoch = max(epochs - 1, 0)
        self.step = max(step, self.step)
        self.epoch_metrics[:] = epoch_metrics
        self.metrics = epoch_metrics[-1][1] if epoch_metrics else {}
        self.decision_log[:] = decision_log

    def start_epoch(self, epoch: int) -> None:
        """Record that an epoch begins."""
        self.epoch_open = True
        self.epoch, self.epochs_started = epoch, epoch + 1
        self.means.clear()
        self.learning_rates = {}
        self.validated = self._broken_off = False
        self.loops = self.counters.trained_batches = 0
        self.counters.in_batch = False

    def discard_validation(self) -> None:
        """Remove the metrics of a validation that has raised an error."""
        self._broken_off = True
        self.means.discard_validation()

    def measure(self) -> None:
        """Take the measurements of the epoch that ends."""
        self.stats = {name: value for source in self.stat_sources for name, value in source().items()}

    def finish_epoch(self, metrics: Mapping[str, Any]) -> None:
        """Record the end of the epoch and its metrics."""
        self.epoch_open = False
        self.metrics = metrics
        self.epochs_finished = self.epoch + 1
        row = metrics if self.plan.unit == "epoch" else {STEP: self.step, **metrics}
        self.epoch_metrics.append((self.epoch, row))
        self.extremes.add(self.epoch, row)

    @property
    def last_validation(self) -> int:
        """The step of the last validation of a loop by steps, or that with which the run began."""
        return self.epoch_metrics[-1][1].get(STEP, 0) if self.epoch_metrics else self.origin.step

    def moment(self, epoch: int, step: int | None = None) -> str:
        """Name an epoch, counted from 0; in a loop by steps, the step of its validation.

        Args:
            epoch: The number of the epoch or interval.
            step: Weight updates at that time; None for the end of the epoch or interval.
        """
        if step is None and self.plan.unit != "epoch":
            later = reversed(self.epoch_metrics)
            step = next((metrics.get(STEP) for number, metrics in later if number == epoch), None)
        return self.plan.moment(epoch, step)

    def record(self, result: ExecutionResult, exists: Callable[[Location], bool]) -> None:
        """Record the result of a decision.

        Args:
            result: What was executed, written, and not written.
            exists: Returns whether there is a checkpoint at a path; called only for saves that failed.
        """
        saved = self.files.record(result.done, [each.path for each in result.failed], exists)
        known = {path: path for path in saved}  # so that each path is in memory once
        self.checkpoints += [
            SavedCheckpoint(known.get(each.path, each.path), each.epoch, each.step) for each in result.committed
        ]
        self.stop_actions += [each for each in result.done if isinstance(each, Stop) and each not in self.stop_actions]
        if result.done:
            self.decision_log.append((self.epoch, result.done))

    @property
    def decided_to_stop(self) -> bool:
        """Whether a decision ends the run; a request, such as a signal, is none."""
        return any(each.by != REQUEST for each in self.stop_actions)

    @property
    def reason(self) -> str:
        """The reason why the run ended, in words, or that it has not ended."""
        return reason_of(self)
