"""PyTorch Ignite: handlers that turn every ``run`` of a trainer, which is an ``Engine``, into a run."""

# Ignite has no public way to learn which handlers an event has
# ruff: noqa: SLF001
# pyright: basic, reportMissingImports=false, reportAttributeAccessIssue=false

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Unpack

from ignite.engine import Engine, Events
from ignite.engine.deterministic import DeterministicEngine

from trainbus import LoopError, Run, SettingsError
from trainbus.binding import RunDriver, RunOptions, check_options, options_of_next
from trainbus.failures import LOG
from trainbus.metrics.missing_metric import MetricAdvice
from trainbus.metrics.names import is_validated
from trainbus.metrics.scalars import to_scalars
from trainbus.settings.arguments import checked
from trainbus.settings.plugin_list import CallbackLike, as_list
from trainbus.storage.paths import AUTO

from ..shared.schedules import check_schedule
from ..torch.plain_snapshots import with_plain_snapshots, with_snapshots
from .accumulation import accumulated_batches
from .output import metrics_in
from .param_schedules import schedule_of
from .rest_of_epoch import RestOfEpoch

_ADVICE = MetricAdvice(
    "run the evaluator in a handler of the trainer, and give it: attach(trainer, subject, callbacks, evaluator)",
    "attach a metric of this name to the trainer or the evaluator, or return it by name from the process function",
)


@checked("attach", "give several callbacks as one list: attach(trainer, subject, [...])")
def attach(
    trainer: Engine,
    subject: object = None,
    callbacks: CallbackLike | Sequence[CallbackLike] = (),
    evaluator: Engine | None = None,
    *,
    output_transform: Callable[[Any], Any] | None = None,
    accumulate: int | None = None,
    **options: Unpack[RunOptions],
) -> IgniteHandler:
    """Run a list of trainbus callbacks in every ``run`` of a trainer.

    ::

        bus = attach(trainer, TorchSubject(model, optimizer), [EarlyStopping(patience=3), ModelCheckpoint("best.pt")],
                     evaluator)
        trainer.add_event_handler(Events.EPOCH_COMPLETED, lambda: evaluator.run(val_loader))
        trainer.run(loader, max_epochs=100)
        print(bus.run.result)

    Each ``trainer.run`` is a separate run. Its metrics are those in ``trainer.state.metrics`` at the end of an epoch;
    the means of what the process function returns; and those of the evaluator, with the prefix ``val_``. An evaluation
    while an epoch is open is a validation, also one after some iterations. The epoch ends after all handlers of
    ``EPOCH_COMPLETED``, in whatever order they were attached. A stop in the middle of an epoch calls
    ``trainer.terminate_epoch``, so that ``EPOCH_COMPLETED`` is fired; then, as at the end of an epoch,
    ``trainer.terminate``. An error is raised from ``trainer.run``, unless a handler of yours for ``EXCEPTION_RAISED``
    handles it.

    There are two ways to resume, and both continue exactly, also in the middle of an epoch if the loader can be
    iterated over again: batches that were trained on are skipped, which Ignite itself does not do.

    - With Ignite's checkpoints: ``Checkpoint({"trainer": trainer, "trainbus": bus, ...}, ...)`` saves the state of the
      run, and ``Checkpoint.load_objects`` restores it. A snapshot of the best weights is part of it.
    - ``resume="auto"`` or a path: from a checkpoint of trainbus's ``ModelCheckpoint``. The trainer begins with the
      epoch and the iteration at which the run was interrupted. States of Ignite's own handlers begin anew.

    A resume between the batches of one accumulated update loses their gradients, as one line in the log says. A
    checkpoint that is saved after a batch does not have a validation that follows this batch. After a resume in the
    middle of an epoch, metrics that are attached to the trainer itself see only the rest of the
    epoch, unless Ignite's checkpoint holds them too. If ``epoch_length`` is not the length of the loader, a resumed run
    begins with the loader's first batches, which one line in the log says.

    Args:
        trainer: The engine that trains.
        subject: What is trained, such as a ``TorchSubject``.
        callbacks: Callbacks, as in ``trainbus.Run``, or a single one.
        evaluator: The engine that validates.
        output_transform: Returns the metrics of a batch from what the process function returned: one number, which is
            ``loss``, or numbers by name. By default, the output is taken if it is of that form.
        accumulate: Batches in one weight update; by default the ``gradient_accumulation_steps`` of a trainer that
            Ignite has made, such as by ``create_supervised_trainer``, and otherwise 1.
        options: Further arguments of ``trainbus.Run``. ``resume`` and ``start`` are for the first ``run``. But with
            ``resume="auto"``, a ``run`` that was broken off is continued by the next one.

    Returns:
        The handler: its ``run`` is the present or last run.

    Raises:
        SettingsError: An argument is wrong. What the callbacks need is checked when ``run`` begins.
    """
    named = ["trainer", "subject", "callbacks", "evaluator", "output_transform", "accumulate"]
    check_options("attach", options, named)
    for name, engine in (("trainer", trainer), ("evaluator", evaluator)):
        if not isinstance(engine, Engine) and (name == "trainer" or engine is not None):
            raise SettingsError(f"attach: {name}={engine!r} is no Engine of Ignite")
    if trainer is evaluator:
        raise SettingsError("attach: the evaluator is the trainer; an evaluation needs an engine of its own")
    batches = accumulated_batches(trainer, accumulate)
    handler = IgniteHandler(subject, as_list(callbacks), output_transform or metrics_in, batches, options)
    handler.attach(trainer, evaluator)
    return handler


class IgniteHandler:
    """What ``attach`` returns: the handlers of one trainer and its evaluator; ``Checkpoint(to_save=...)`` takes it."""

    def __init__(
        self,
        subject: object,
        callbacks: list[Any],
        output_transform: Callable[[Any], Any],
        accumulate: int,
        options: RunOptions,
    ) -> None:
        self.callbacks = callbacks
        self._subject, self._transform, self._accumulate = subject, output_transform, accumulate
        self._options = options
        self._evaluates = False
        self._driver: RunDriver | None = None
        self._given: Mapping[str, Any] | None = None
        """The state that a checkpoint of Ignite had, until a run begins with it."""
        self._paused = False
        """Whether ``trainer.interrupt`` has left the loop."""
        self._only_end = False
        """Whether all batches of the epoch were trained on before the run was interrupted, but its end was not."""

    def attach(self, trainer: Engine, evaluator: Engine | None) -> None:
        """Add the handlers to the engines."""
        trainer.add_event_handler(Events.STARTED, self._begin)
        for event, handler in self._handlers:
            trainer.add_event_handler(event, handler)
        if evaluator is not None:
            self._evaluates = True
            evaluator.add_event_handler(Events.STARTED, self._begin_validation)
            evaluator.add_event_handler(Events.EPOCH_COMPLETED, self._end_validation)

    @property
    def _handlers(self) -> list[tuple[Any, Callable[..., None]]]:
        return [
            (Events.EPOCH_STARTED, self._begin_epoch),
            (Events.ITERATION_STARTED, self._begin_batch),
            (Events.ITERATION_COMPLETED, self._end_batch),
            (Events.EPOCH_COMPLETED, self._end_epoch),
            (Events.INTERRUPT, self._pause),
            (Events.TERMINATE, self._terminated),
            (Events.COMPLETED, self._end),
            (Events.EXCEPTION_RAISED, self._failed),
        ]

    @property
    def run(self) -> Run:
        """The run of the current ``trainer.run``, or of the last one.

        Raises:
            LoopError: No ``trainer.run`` has begun yet.
        """
        if self._driver is None:
            raise LoopError("no run yet: it begins in trainer.run(...) of the trainer that attach() was given")
        return self._driver.run

    # --- the checkpoints of Ignite

    def state_dict(self) -> dict[str, Any]:
        """Return the state of the run, which ``torch.load(..., weights_only=True)`` reads; empty before the first."""
        if self._driver is None or self._given is not None:
            return dict(self._given or {})
        return with_plain_snapshots(self._driver.run.state_dict())

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue the run of this state in the next ``trainer.run``."""
        self._given = dict(state) or None

    # --- the events of the trainer

    def _begin(self, engine: Engine) -> None:
        last = self._driver
        if last is not None:
            last.abandon()
        for event, handler in self._handlers:  # Checkpoint saves after a batch, and validations count for their epoch
            _move(engine, event, handler, first=event is not Events.EPOCH_COMPLETED)
        check_schedule(self.callbacks, schedule_of(engine))
        options = self._options_of_run(None if last is None else last.run)
        driver = RunDriver(self._subject, self.callbacks, **options)
        self._driver, self._paused, self._only_end = driver, False, False
        state = engine.state
        length, epochs = state.epoch_length, state.max_epochs
        if epochs is None and length and state.max_iters is not None:
            epochs = -(-state.max_iters // length)
        driver.begin(epochs, batches=length, advice=_ADVICE, loop_is_alive=lambda: not self._paused)
        if driver.run.resumed is not None:
            self._continue(engine, driver)
        if driver.stopped:
            engine.terminate()

    def _options_of_run(self, last: Run | None) -> dict[str, Any]:
        given, source = self._given, self._options.get("resume")
        if given is None:
            instead = "make a new trainer with attach(..., resume='auto')"
            options = options_of_next(self._options, last, "trainer.run()", instead)
        else:
            if source not in (None, AUTO):
                raise SettingsError(
                    f"a checkpoint of Ignite was loaded, and resume={source!r} names another one to continue from; "
                    "give one of them"
                )
            options, self._given = {**self._options, "resume": with_snapshots(given)}, None
        return options

    def _continue(self, engine: Engine, driver: RunDriver) -> None:
        """Set the trainer to where the run was interrupted, if it is not there already."""
        state, resumer = engine.state, driver.run.resumer
        if not state.epoch_length:
            state.epoch_length = resumer.saved.planned_batches
        length = state.epoch_length or 0
        epoch, batches = driver.first_epoch, resumer.saved.position.batches if resumer.mid_epoch else 0
        reached = epoch * length + batches
        if state.iteration not in (0, reached):
            error = LoopError(
                f"the trainer continues after iteration {state.iteration}, but the resumed run was interrupted after "
                f"iteration {reached}; load both from the same checkpoint"
            )
            driver.end(error)
            raise error
        if length and batches >= length:
            if resumer.saved.validated or not self._evaluates:  # all but the end of the epoch was done
                driver.begin_epoch(epoch, batch=batches)
                driver.end_epoch()
                epoch += 1
            else:  # Ignite ends an epoch, and so validates, only after a batch
                reached -= 1
                self._only_end = True
        state.epoch, state.iteration = epoch, reached
        if lost := reached % self._accumulate:
            LOG.warning(
                "the run was interrupted after %d of the %d batches of an accumulated update, and their gradients are "
                "lost: the resumed training is not exactly the unbroken one; save after complete updates, as with "
                "save_freq=%d",
                lost,
                self._accumulate,
                self._accumulate,
            )
        given = getattr(state.dataloader, "__len__", int)()
        if reached and length and given and given != length:
            LOG.warning(
                "the epoch_length of the trainer is %d, and its loader has %d batches: the resumed run begins with the "
                "first of them",
                length,
                given,
            )

    def _begin_epoch(self, engine: Engine) -> None:
        driver, state = self._present, engine.state
        self._paused = False
        driver.run.state.planned_batches = state.epoch_length
        driver.begin_epoch(state.epoch - 1)
        if driver.batches_to_skip and state.dataloader is not None and not isinstance(engine, DeterministicEngine):
            state.dataloader = RestOfEpoch(engine, driver, only_end=self._only_end)

    def _begin_batch(self, engine: Engine) -> None:
        driver = self._present
        self._paused = False
        while driver.batches_to_skip:  # the engine has skipped them
            driver.begin_batch()
        if self._only_end:
            self._only_end = False
            engine.terminate_epoch()
        elif not driver.begin_batch():  # a decision has stopped the training
            engine.state.iteration -= 1
            engine.terminate_epoch()

    def _end_batch(self, engine: Engine) -> None:
        driver, state = self._present, engine.state
        driver.end_batch(self._transform_to_metrics(state.output), steps=int(state.iteration % self._accumulate == 0))
        if driver.stopped:
            if driver.run.state.phase == "ended":
                engine.terminate()
            else:
                engine.terminate_epoch()

    def _transform_to_metrics(self, output: Any) -> Mapping[str, Any]:
        found = self._transform(output)
        return found if isinstance(found, Mapping) else {} if found is None else {"loss": found}

    def _end_epoch(self, engine: Engine) -> None:
        driver = self._present
        driver.end_epoch(to_scalars(engine.state.metrics))
        if driver.stopped:
            engine.terminate()

    def _pause(self) -> None:
        self._paused = True

    def _terminated(self, engine: Engine) -> None:
        if engine.should_terminate == "skip_completed":
            self._end()

    def _end(self) -> None:
        self._present.end()

    def _failed(self, engine: Engine, error: BaseException) -> None:
        """End the run; raise the error again, as Ignite does without a handler, unless it is handled elsewhere."""
        handled = self._driver is not None and self._driver.end(error)
        if not handled and len(engine._event_handlers[Events.EXCEPTION_RAISED]) == 1:
            raise error

    @property
    def _present(self) -> RunDriver:
        assert self._driver is not None
        return self._driver

    # --- the events of the evaluator

    def _begin_validation(self, evaluator: Engine) -> None:
        _move(evaluator, Events.EPOCH_COMPLETED, self._end_validation, first=False)  # after all metrics
        if self._driver is not None:
            self._driver.begin_validation()

    def _end_validation(self, evaluator: Engine) -> None:
        if self._driver is not None:
            metrics = to_scalars(evaluator.state.metrics)
            self._driver.end_validation({_validated(name): value for name, value in metrics.items()})


def _move(engine: Engine, event: Any, handler: Callable[..., None], *, first: bool) -> None:
    """Make a handler the first or the last of an event: it acts after what it needs, in whatever order they came."""
    listed = engine._event_handlers[event]
    ours = [each for each in listed if each[0] == handler]
    others = [each for each in listed if each[0] != handler]
    engine._event_handlers[event] = [*ours, *others] if first else [*others, *ours]


def _validated(name: str) -> str:
    return name if is_validated(name) else f"val_{name}"
