"""A plugin that records hooks, and scripted runs over given metrics."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from operator import itemgetter
from types import MethodType
from typing import Any, NamedTuple

from ..decision import Decision
from ..errors import SettingsError
from ..hooks import HOOKS, Hooks, hookimpl
from ..metrics.names import hint_with_list, is_validated
from ..run import Run
from ..settings.plugin_list import CallbackLike, as_list


class RecordedEvent(NamedTuple):
    """One call of a hook: its name and its arguments."""

    hook: str
    """The hook's name, as in ``trainbus.hooks.HOOKS``."""
    values: dict[str, Any]
    """The run's ``epoch``, ``batch`` and ``step``, and the hook's own arguments except ``run``, all by name."""


class EventRecorder:
    """A plugin that records which hooks are called, in order, with their arguments.

    It implements only the given hooks, because hooks of batches make each batch slower. It copies the metrics during
    the call, which may wait for the device.

    Args:
        hooks: Names of the hooks to implement; all hooks if no name is given.
        answer: Called with each event after recording it; its return value is the result of the hook. It may also
            raise an exception, to test how a run handles it. With None, hooks return None.

    Raises:
        SettingsError: A name is not the name of a hook.

    >>> from trainbus import decision
    >>> recorder = EventRecorder("on_epoch_end", "on_train_end", answer=lambda event: decision.stop("enough"))
    >>> with Run(callbacks=recorder) as run:
    ...     for epoch in run.epochs(3):
    ...         run.log(loss=0.5)
    >>> recorder.names
    ['on_epoch_end', 'on_train_end']
    >>> recorder.of("on_epoch_end", "epoch", "metrics")
    [(0, {'loss': 0.5})]
    >>> recorder.events[-1].values
    {'epoch': 0, 'batch': 0, 'step': 0}
    """

    def __init__(self, *hooks: str, answer: Callable[[RecordedEvent], Decision | None] | None = None) -> None:
        self.events: list[RecordedEvent] = []
        self._answer = answer
        for hook in hooks or HOOKS:
            if hook not in HOOKS:
                raise SettingsError(f"EventRecorder: unknown hook {hook!r}{hint_with_list(hook, HOOKS, 'hooks')}")
            setattr(self, hook, MethodType(_recording(hook), self))

    @property
    def names(self) -> list[str]:
        """The hook of each event, in order."""
        return [event.hook for event in self.events]

    def of(self, hook: str, *names: str) -> list[Any]:
        """Return the recorded calls of one hook.

        Args:
            hook: The hook's name.
            names: The values to return for each event: one name returns the value itself, several names a tuple, and no
                name the mapping of all values.
        """
        found = [event.values for event in self.events if event.hook == hook]
        return [itemgetter(*names)(values) for values in found] if names else found

    def record(self, event: RecordedEvent) -> Decision | None:
        """Append an event, and return the result for its hook."""
        self.events.append(event)
        return self._answer and self._answer(event)


def _recording(hook: str) -> Callable[..., Decision | None]:
    specified = getattr(Hooks, hook)
    arguments = list(inspect.signature(specified).parameters)[2:]

    # with wraps, pluggy and check_plugin read the arguments of the specification
    @hookimpl
    @wraps(specified)
    def implementation(recorder: EventRecorder, run: Run, *given: Any) -> Decision | None:
        position: dict[str, Any] = {"epoch": run.epoch, "batch": run.batch, "step": run.step}
        values = (dict(each) if name == "metrics" else each for name, each in zip(arguments, given, strict=True))
        return recorder.record(RecordedEvent(hook, position | dict(zip(arguments, values, strict=True))))

    return implementation


def scripted(
    history: Sequence[Mapping[str, Any]], callbacks: CallbackLike | Sequence[CallbackLike], subject: object = None
) -> tuple[Run, list[tuple[int, Decision]]]:
    """Run callbacks on given metrics instead of training a model.

    An epoch without a ``val_`` metric has no validation, unless no epoch has a ``val_`` metric.

    Args:
        history: The metrics of each epoch, as a mapping from names to values.
        callbacks: The callbacks to run.
        subject: The subject of the run, if the callbacks need one.

    Returns:
        The finished run, and each decision with its epoch, counted from 0.

    >>> from trainbus.plugins import EarlyStopping
    >>> run, decided = scripted([{"loss": 2.0}, {"loss": 1.0}, {"loss": 1.0}], EarlyStopping(monitor="loss"))
    >>> run.result.epochs, [epoch for epoch, _ in decided]
    (3, [2])
    """
    recorder = EventRecorder("on_decision")
    listed = as_list(callbacks)
    validated = [epoch for epoch, metrics in enumerate(history, start=1) if any(map(is_validated, metrics))]
    with Run(subject, [*listed, recorder], verbose=0) as run:
        for epoch in run.epochs(len(history), validation_freq=validated or 1):
            run.log(history[epoch])
    return run, recorder.of("on_decision", "epoch", "decision")
