"""One call of ``Trainer.train`` and its run."""

# The types of Transformers are partly unknown
# pyright: basic, reportMissingImports=false, reportAttributeAccessIssue=false

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from transformers import TrainerControl, TrainerState, TrainingArguments

from trainbus import Run, SettingsError
from trainbus.binding import RunDriver
from trainbus.failures import LOG
from trainbus.resume.rng_state import get_rng_state, set_rng_state

from ..torch import TorchSubject
from . import run_file
from .evaluations import ADVICE, Evaluations, evaluated_epochs, is_due_after
from .logs import correct_mean, is_summary, metrics_in
from .prepared_loader import PreparedLoader
from .train_call import TrainCall


class TrainSession:
    """One call of ``Trainer.train`` and its run.

    Args:
        callbacks: As in ``trainbus.Run``.
        call: The call.
        args: The arguments of the trainer.
        state: The state of the trainer.
        parts: What the trainer passes to its callbacks: the model, the optimizer and others.
        of_subject: Further arguments of ``TorchSubject``.
        options: Further arguments of ``trainbus.Run``.
        given: The state of the run in the trainer's checkpoint; empty if it has none.
    """

    def __init__(
        self,
        callbacks: Sequence[Any],
        call: TrainCall,
        args: TrainingArguments,
        state: TrainerState,
        parts: Mapping[str, Any],
        of_subject: Mapping[str, Any],
        options: Mapping[str, Any],
        given: str,
    ) -> None:
        self.call, self._args, self._state = call, args, state
        self._loader = PreparedLoader(parts["train_dataloader"], args.gradient_accumulation_steps)
        self._epoch = 0
        """The number of the next epoch of the trainer."""
        if call.resume_from is not None:
            self._epoch = state.global_step // (self._loader.updates or state.max_steps)
        self._subject = TorchSubject(
            parts["model"], parts["optimizer"], scheduler=parts["lr_scheduler"], scaler=call.scaler, **of_subject
        )
        self._subject.made_by = "TransformersCallback"
        self._evaluations = Evaluations()
        callbacks = [*callbacks, self._evaluations]
        self._driver = RunDriver(
            self._subject, callbacks, prefixes={"eval_": "val_"}, reduce=None, **{**options, **self._beginning(given)}
        )
        self._own_resume = False  # whether the run was restored, and the trainer begins anew
        self._done = 0
        """The weight updates of the first epoch that the trainer leaves out."""
        self._first_step = self._logged = state.global_step
        self._left_open = False
        """Whether the trainer was interrupted between the last update of an epoch and its end, which it leaves out."""
        self._left_out = False  # whether the trainer leaves out the present epoch
        self._offset = 0.0  # the part of the present epoch that the trainer leaves out
        self._end_after = ""
        """What the end of the batch or of the epoch comes after: "log of a batch", "log", "evaluation", or nothing."""
        self._early_epoch = False
        """Whether an evaluation has begun the epoch before the trainer does."""
        self._weights: Any = None  # those before an update that does not count
        self._restore_rng: Callable[[], None] | None = None  # called when the first batches of the epoch were loaded
        self._eval_on_start: bool | None = None  # the argument of the trainer, while it is replaced
        self._validating = False
        self._measured: dict[str, Any] = {}  # by the data sets that were evaluated so far
        self._revoke: Callable[[], object] = lambda: None  # that the run ends when the call of ``train`` is over
        self._gathered: dict[str, Any] | None = None
        """With several processes, the state of the run that they have put together."""

    def _beginning(self, given: str) -> dict[str, Any]:
        """Return the arguments of the run if the trainer was restored from a checkpoint."""
        source = self.call.resume_from
        if source is None:
            return {}
        if given:
            return {"resume": run_file.read(given, Path(source))}
        if self._state.is_world_process_zero:
            LOG.warning(
                "%r was written without a TransformersCallback: its run begins in epoch %d with step %d, and without "
                "history",
                source,
                self._epoch + 1,
                self._state.global_step,
            )
        return {"start": {"epoch": self._epoch, "step": self._state.global_step}}

    @property
    def run(self) -> Run:
        """The run."""
        return self._driver.run

    def begin(self, control: TrainerControl) -> None:
        """Begin the run; let the trainer begin where a resumed run continues."""
        driver, state = self._driver, self._state
        driver.begin(
            None if state.num_train_epochs == sys.maxsize else state.num_train_epochs,
            batches=self._loader.updates,
            validation_freq=evaluated_epochs(self._args),
            advice=ADVICE,
            loop_is_alive=self.call.is_running,
        )
        self._revoke = self.call.when_over(driver.abandon)  # of an error no callback is told
        if self.call.resume_from is not None:
            self._continue_with_trainer()
        elif self.run.resumed is not None or driver.first_epoch:
            self._continue_run()
        if driver.stopped:
            control.should_training_stop = True

    def _continue_with_trainer(self) -> None:
        """Continue where the trainer does."""
        args, mid_epoch = self._args, self.run.resumer.mid_epoch
        self._left_open = mid_epoch and self._epoch == self._driver.first_epoch + 1
        if self._left_open and args.eval_strategy == "epoch" and args.eval_delay <= self._epoch:
            self._end_after = "evaluation"
            self._evaluate_first()
        elif args.ignore_data_skip and mid_epoch and not self._left_open:
            self._warn("ignore_data_skip=True: the epoch in which the run was interrupted begins with its first batch")

    def _continue_run(self) -> None:
        """Let the trainer leave out what the resumed run has trained."""
        driver, state, args = self._driver, self._state, self._args
        self._own_resume, self._done = True, self.run.resumer.batches_to_skip
        problem = self._loader.why_not(self._done)
        if problem and not driver.stopped:
            error = SettingsError(
                f"resume= continues in epoch {driver.first_epoch + 1} after {self._done} weight updates, but Trainer "
                f"cannot leave out {problem}; save with its save_strategy, too, and call "
                "trainer.train(resume_from_checkpoint=True)"
            )
            driver.end(error)
            raise error
        if args.load_best_model_at_end:
            self._warn(
                "load_best_model_at_end: the trainer does not know its best model from before the resume; use "
                "EarlyStopping(restore_best_weights=True), or trainer.train(resume_from_checkpoint=...)"
            )
        state.global_step = self._first_step = self._logged = step = self.run.step
        state.epoch = driver.first_epoch + (self._done / self._loader.updates if self._loader.updates else 0)
        if self.run.resumer.mid_epoch and self._evaluations.step != step and is_due_after(step, args, state):
            self._evaluate_first()
            self._early_epoch = True

    def _evaluate_first(self) -> None:
        """Let the trainer begin with the evaluation that it was about to make when it was interrupted."""
        self._driver.begin_epoch(self._driver.first_epoch)
        self._reach()
        self._eval_on_start, self._args.eval_on_start = self._args.eval_on_start, True

    def _warn(self, line: str) -> None:
        if self.run.rank == 0:
            LOG.warning("%s", line)

    @property
    def _open(self) -> bool:
        return self.run.state.phase == "open"

    # --- epochs and batches

    def begin_epoch(self, control: TrainerControl) -> None:
        """Begin the next epoch; leave it out if it is done, or if the run has stopped."""
        number, driver = self._epoch, self._driver
        self._epoch += 1
        self._left_out = driver.stopped or (self._own_resume and number < driver.first_epoch)
        if self._left_out or not self._open:
            control.should_epoch_stop = True
            self._loader.leave_out_all()
            return
        if not self._early_epoch:
            driver.begin_epoch(number)
        self._keep_generators()
        if driver.stopped:  # by a decision at its begin
            self._left_out = control.should_epoch_stop = True
        if self._left_out or (self._done and self._state.global_step >= self._state.max_steps):
            self._loader.leave_out_all()
        else:
            self._offset = self._loader.leave_out(self._done)
        self._done = 0

    def _keep_generators(self) -> None:
        """Keep the state of the generators after an evaluation that was made first."""
        if self._early_epoch:  # beginning to load batches draws numbers
            self._restore_rng = partial(set_rng_state, get_rng_state(self._subject), self._subject)
            self._early_epoch = False
        elif self._left_open:  # the trainer restores those from before the evaluation
            self._loader.call_before(partial(set_rng_state, get_rng_state(self._subject), self._subject))
            self._left_open = False

    def begin_batch(self) -> None:
        """Begin a weight update."""
        if self._left_out or self._state.global_step >= self._state.max_steps:
            self._weights = self._subject.snapshot()  # the trainer makes one after a resume, although it is to stop
            return
        self._reach()
        if self._restore_rng is not None:
            self._restore_rng()
            self._restore_rng = None
        self._driver.begin_batch()

    def _reach(self) -> None:
        """Restore the state after the weight updates that the trainer has left out, and has loaded batches for."""
        while self._driver.batches_to_skip:
            self._driver.begin_batch()

    def end_batch(self, control: TrainerControl) -> None:
        """End a weight update, after the trainer has logged its loss if it does so."""
        self._state.epoch += self._offset
        if self._weights is not None:
            self._subject.restore(self._weights)
            self._weights, control.should_training_stop = None, True
            control.should_log = control.should_evaluate = control.should_save = False
        elif control.should_log:
            self._end_after = "log of a batch"
        else:
            self._end_batch(control)

    def _end_batch(self, control: TrainerControl) -> None:
        self._end_after = ""
        self._driver.end_batch()
        self._obey(control)

    def log(self, logs: dict[str, Any], control: TrainerControl) -> None:
        """Log what the trainer logs, except the results of evaluations, which ``end_validation`` gets."""
        step = self._state.global_step
        if self._own_resume and correct_mean(logs, step, self._first_step, first=self._logged == self._first_step):
            self._state.log_history[-1] |= {name: logs[name] for name in logs.keys() & self._state.log_history[-1]}
        if is_summary(logs):
            return
        count, self._logged = max(step - self._logged, 1), step
        if self._open and self.run.state.epoch_open:
            self.run.log(metrics_in(logs), count=count, reduce=None)
        if self._end_after == "log of a batch":
            self._end_batch(control)
        elif self._end_after == "log":
            self._end_epoch(control)

    # --- validations and the end of an epoch

    def begin_validation(self) -> None:
        """Begin a validation, at its first batch; one before the training is in the first epoch."""
        if self._validating or not self._open:
            return
        if not self.run.state.epoch_open and not self._epoch and self.run.resumed is None:
            self._driver.begin_epoch(0)
            self._early_epoch = True
        if self.run.state.epoch_open:
            self._validating = True
            self._driver.begin_validation()

    def end_validation(self, metrics: Mapping[str, Any], control: TrainerControl) -> None:
        """End the evaluation of a data set: a validation, with those of the other data sets."""
        measured = metrics_in(metrics)
        if not any(name.startswith("eval_") for name in metrics):  # of other data, by another callback
            if self._open and self.run.state.epoch_open:
                self.run.log(measured, reduce=None)
            return
        if self._open and not self.run.state.epoch_open and self._epoch:
            self._warn("an evaluation between two epochs is a validation of neither; evaluate in on_epoch_end")
        self._measured |= measured
        names = self.call.data_names
        if names and f"eval_{names[-1]}_runtime" not in metrics:
            return
        self.begin_validation()
        self._validating = False
        if self._eval_on_start is not None:
            self._args.eval_on_start, self._eval_on_start = self._eval_on_start, None
        measured, self._measured = self._measured, {}
        self._driver.end_validation(measured)
        if self._end_after == "evaluation":
            self._end_epoch(control)
        else:
            self._obey(control)

    def end_epoch(self, control: TrainerControl) -> None:
        """End the epoch, now or after what the trainer does at its end."""
        if not self._left_out:
            self._reach()  # if the epoch was interrupted after its last update
        if self._left_out:
            control.should_log = control.should_evaluate = control.should_save = False
        elif control.should_evaluate:
            self._end_after = "evaluation"
        elif control.should_log and self._state.global_step > self._logged:
            self._end_after = "log"
        else:
            self._end_epoch(control)
        if self._own_resume and self._epoch <= self._driver.first_epoch + 1:  # an epoch without a batch has stopped it
            control.should_log = control.should_log and self._state.global_step > self._logged
            done = not self._left_out and self._state.global_step >= self._state.max_steps
            control.should_training_stop = self._driver.stopped or done
        self._loader.leave_out_none()
        self._restore_rng = None

    def _end_epoch(self, control: TrainerControl) -> None:
        self._end_after = ""
        self._driver.end_epoch()
        self._obey(control)

    def _obey(self, control: TrainerControl) -> None:
        """Stop the trainer if the run has stopped; let all processes put their state together if it is to be saved."""
        if self._driver.stopped:
            control.should_training_stop = True
        if self.run.world_size > 1 and (control.should_save or self._args.save_strategy == "best"):
            self._gathered = self.run.state_dict()

    # --- the checkpoints of the trainer, and the end

    def state(self) -> str:
        """Return the state of the run as text; write its snapshots into the directory of the checkpoint."""
        if not self._open:
            return ""
        state = self.run.state_dict() if self.run.world_size == 1 else self._gathered
        directory = Path(self._args.output_dir or ".") / f"checkpoint-{self._state.global_step}"
        return "" if state is None else run_file.stored(state, directory)

    def abandon(self) -> None:
        """End the run of a ``train`` that has not notified its callbacks of its end."""
        self._close()
        self._driver.abandon()

    def end(self) -> None:
        """End the run, and an epoch that the trainer has not continued, since it was the last one."""
        self._close()
        if self._left_open and self.run.resumer.mid_epoch:
            self._driver.begin_epoch(self._driver.first_epoch)
            self._driver.end_epoch()
        self._driver.end()

    def _close(self) -> None:
        self._loader.leave_out_none()
        self._revoke()
