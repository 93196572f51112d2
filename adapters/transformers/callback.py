"""A callback of Transformers' ``Trainer`` that turns every ``train`` into a run."""

# The types of Transformers are partly unknown
# pyright: basic, reportMissingImports=false, reportAttributeAccessIssue=false

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Unpack, cast

from transformers import Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_callback import ExportableState

from trainbus import LoopError, Run, SettingsError
from trainbus.binding import RunOptions, check_options, options_of_next
from trainbus.settings.arguments import checked
from trainbus.settings.plugin_list import CallbackLike, as_list
from trainbus.storage.paths import AUTO

from ..shared.call_stack import innermost_self
from .train_call import TrainCall
from .train_session import TrainSession

STATE = "restored_state"
"""The attribute under which a checkpoint of the trainer has the state of the run."""


class TransformersCallback(TrainerCallback, ExportableState):  # type: ignore[misc, unused-ignore]
    """A callback of Transformers' ``Trainer`` that runs a list of trainbus callbacks in every ``train``.

    ::

        bus = TransformersCallback([EarlyStopping(patience=3), ModelCheckpoint("best.pt", save_best_only=True)])
        arguments = TrainingArguments(eval_strategy="epoch", ...)
        trainer = Trainer(model, arguments, train_dataset=..., eval_dataset=..., callbacks=[bus])
        trainer.train()
        print(bus.run.result)

    Each ``train`` is a separate run. A batch of the run is one weight update, whatever
    ``gradient_accumulation_steps`` is. Each evaluation is a validation: with ``eval_strategy="steps"``, callbacks with
    ``every="validation"`` decide at each. The metric ``eval_loss`` is ``val_loss`` in the run, and ``monitor`` takes
    either name. The training loss is known where the trainer logs it, so a callback that monitors it needs
    ``logging_strategy="epoch"``. Times and speeds of evaluations are no metrics.

    Checkpoints of the trainer hold the state of the run: ``trainer.train(resume_from_checkpoint=...)`` continues it.
    The best weights of ``EarlyStopping(restore_best_weights=True)`` are in a file beside ``trainer_state.json``. With
    ``resume="auto"`` or a path, the run continues from a checkpoint of ``ModelCheckpoint``, and the trainer leaves out
    what was trained, without loading its data. The trainer's own record then begins anew: its log, and the best model
    for ``load_best_model_at_end``. After a resume in the middle of an epoch, the first training loss that the trainer
    logs is the mean since the resume.

    The callback acts after all others, so it may stand anywhere in the list: an evaluation that another callback asks
    for at the end of an epoch belongs to this epoch.

    An error in one of the callbacks ends the run at once. If anything else raises, ``train`` notifies no callback. The
    run then ends when the error's traceback is released, at the latest at the next ``train`` or when Python exits.

    Args:
        callbacks: Callbacks, as in ``trainbus.Run``, or a single one.
        probe: As in ``TorchSubject``: data for TensorBoard's activations and graph.
        extra: As in ``TorchSubject``: other objects whose state a checkpoint should hold.
        timeout: Seconds that one of several processes waits for the others before it raises an error.
        options: Further arguments of ``trainbus.Run``. ``resume`` and ``start`` are for the first ``train``. But with
            ``resume="auto"``, a ``train`` that was broken off is continued by the next one.

    Raises:
        SettingsError: There is no such argument.
    """

    @checked("TransformersCallback", "give several callbacks as one list: TransformersCallback([...])")
    def __init__(
        self,
        callbacks: CallbackLike | Sequence[CallbackLike] = (),
        *,
        probe: Any = None,
        extra: Mapping[str, Any] | None = None,
        timeout: float = 1800,
        **options: Unpack[RunOptions],
    ) -> None:
        check_options("TransformersCallback", options, ["callbacks", "probe", "extra", "timeout"])
        self.callbacks = as_list(callbacks)
        self._of_subject: dict[str, Any] = {"probe": probe, "extra": extra, "timeout": timeout}
        self._options = options
        self._session: TrainSession | None = None
        self._earlier_run: Run | None = None
        """The last run of the callback that this one is a copy of."""

    def __getstate__(self) -> dict[str, Any]:
        """Return the contents of a pickle or a copy: the settings, and the data of the last run without its model."""
        last = self._earlier_run if self._session is None else self._session.run
        return {**vars(self), "_session": None, "_earlier_run": last}

    @property
    def run(self) -> Run:
        """The run of the current ``train``, or of the last one.

        Raises:
            LoopError: No ``train`` has begun yet.
        """
        if self._session is not None:
            return self._session.run
        if self._earlier_run is not None:
            return self._earlier_run
        raise LoopError("no run yet: it begins in trainer.train(), with this callback in Trainer(callbacks=[...])")

    def state(self) -> dict[str, Any]:
        """Return the state of the run, which the trainer writes into ``trainer_state.json``."""
        saves = not isinstance(innermost_self(Trainer, TrainerState), TrainerState)  # it asks when it begins, too
        text = self._session.state() if saves and self._session is not None else ""
        return {"args": {}, "attributes": {STATE: text} if text else {}}

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **parts: Any
    ) -> None:
        """Begin a new run, or continue the one of the checkpoint."""
        call = TrainCall.present()
        self._check(call)
        options = self._options_of(call, args, state)
        stored = cast("dict[str, Any]", state.stateful_callbacks)
        text = stored.get(type(self).__name__, {}).get("attributes", {}).get(STATE, "")
        self._session = TrainSession(self.callbacks, call, args, state, parts, self._of_subject, options, text)
        self._session.begin(control)
        call.call_last(self)

    def _check(self, call: TrainCall) -> None:
        if self._session is not None:
            self._session.abandon()
        if hasattr(self, STATE):
            raise SettingsError(
                "restore_callback_states_from_checkpoint=True replaces the TransformersCallback by one without "
                "callbacks; leave it out: TransformersCallback restores itself from the checkpoint without it"
            )
        if sum(isinstance(each, TransformersCallback) for each in call.callbacks) > 1:
            raise SettingsError("the Trainer has several TransformersCallback; give all callbacks to one of them")

    def _options_of(self, call: TrainCall, args: TrainingArguments, state: TrainerState) -> dict[str, Any]:
        """Return the options of the run of this ``train``; those that say where it begins are for the first one."""
        source, last = self._options.get("resume"), None if self._session is None else self._session.run
        if call.resume_from is not None:
            if source not in (None, AUTO):
                raise SettingsError(
                    f"trainer.train(resume_from_checkpoint={call.resume_from!r}) and resume={source!r} are two "
                    "checkpoints to continue from; give one of them"
                )
            return {**self._options, "resume": None}
        instead = "make a new TransformersCallback(resume='auto')"
        return options_of_next(self._options, last, "train()", instead)

    def on_epoch_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **parts: Any
    ) -> None:
        """Begin an epoch, or leave it out if it was trained before a resume."""
        if self._session is not None:
            self._session.begin_epoch(control)

    def on_step_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **parts: Any
    ) -> None:
        """Begin a weight update: a batch of the run."""
        if self._session is not None:
            self._session.begin_batch()
            self._session.call.call_last(self)  # another callback may have been added

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **parts: Any) -> None:
        """End a weight update."""
        if self._session is not None:
            self._session.end_batch(control)

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, Any] | None = None,
        **parts: Any,
    ) -> None:
        """Log what the trainer logs in an epoch."""
        if self._session is not None and logs:
            self._session.log(logs, control)

    def on_prediction_step(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **parts: Any
    ) -> None:
        """Begin a validation, at its first batch."""
        if self._session is not None:
            self._session.begin_validation()

    def on_evaluate(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        metrics: Mapping[str, Any] | None = None,
        **parts: Any,
    ) -> None:
        """End a validation, and the epoch if it is that of its end."""
        if self._session is not None:
            self._session.end_validation(metrics or {}, control)

    def on_epoch_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **parts: Any) -> None:
        """End the epoch, unless its evaluation is to come."""
        if self._session is not None:
            self._session.end_epoch(control)

    def on_train_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **parts: Any) -> None:
        """End the run; the trainer has loaded its best model, if it does so."""
        if self._session is not None:
            self._session.end()
