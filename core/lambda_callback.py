"""Functions as hooks, without a class."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, Final, cast

from .errors import SettingsError
from .hooks import HOOKS, Hooks, event_listeners, hookimpl
from .metrics.names import hint_with_list
from .terminal.text import shown

_OTHER_HOOKS: Final = {
    **dict.fromkeys(["on_batch_start", "on_train_batch_begin", "on_train_batch_start"], "on_batch_begin"),
    **dict.fromkeys(["on_train_batch_end"], "on_batch_end"),
    **dict.fromkeys(["on_epoch_start", "on_train_epoch_start"], "on_epoch_begin"),
    **dict.fromkeys(["on_train_epoch_end"], "on_epoch_end"),
    **dict.fromkeys(["on_fit_start", "on_train_start"], "on_train_begin"),
    **dict.fromkeys(["on_fit_end"], "on_train_end"),
    **dict.fromkeys(["on_evaluate", "on_test_end"], "on_validation_end"),
    **dict.fromkeys(["on_test_begin", "on_validation_start"], "on_validation_begin"),
    "on_save": "on_checkpoint",
}
"""Names of hooks in other libraries, each with trainbus's own."""

_OTHER_ARGUMENTS: Final = {
    **dict.fromkeys(["log", "logs", "outputs"], "metrics"),
    **dict.fromkeys(["engine", "trainer"], "run"),
    **dict.fromkeys(["model", "net", "pl_module"], "run, which has run.subject"),
    **dict.fromkeys(["batch_idx", "index"], "batch"),
    "exception": "error",
    "global_step": "step",
}
"""Names of arguments in other libraries, each with what to take instead."""


class LambdaCallback:
    """A plugin made of functions, like Keras's LambdaCallback.

    Each function is named like a hook and takes those of the hook's arguments that it needs, by name. It returns None
    or a ``Decision``.

    Args:
        listeners: Functions that ``listens_to`` has marked: ``LambdaCallback(listens_to("drawn", every=3)(show))``.
        critical: Whether an error in a function ends the run; if not, it is reported, and the training continues.
        functions: Hook to function; None for none.

    Raises:
        SettingsError: There is no such hook or argument, or no function; the message has the nearest right name.

    >>> from trainbus import Run
    >>> with Run(callbacks=LambdaCallback(on_epoch_end=lambda epoch, metrics: print(epoch, metrics))) as run:
    ...     for epoch in run.epochs(2):
    ...         run.log(loss=1 / (epoch + 1))
    0 {'loss': 1.0}
    1 {'loss': 0.5}
    >>> LambdaCallback(on_epoch_edn=print)
    Traceback (most recent call last):
        ...
    trainbus.errors.SettingsError: LambdaCallback: on_epoch_edn: no such hook; did you mean 'on_epoch_end'? hooks: ...
    """

    def __init__(
        self, *listeners: Callable[..., Any], critical: bool = True, **functions: Callable[..., Any] | None
    ) -> None:
        if not isinstance(cast("object", critical), bool):
            raise SettingsError(f"LambdaCallback: critical={shown(critical)}: give True or False")
        self.critical = critical
        given = {hook: function for hook, function in functions.items() if function is not None}
        for number, listener in enumerate(listeners):
            setattr(self, f"listener_{number}", listener)
            if not any(attribute == f"listener_{number}" for attribute, _ in event_listeners(self)):
                raise SettingsError(
                    f"LambdaCallback({shown(listener)}): give a hook by name, as in on_epoch_end=..., or mark the "
                    "function of an event: listens_to(event)(function)"
                )
        if not given and not listeners:
            raise SettingsError("LambdaCallback has no function; write LambdaCallback(on_epoch_end=lambda epoch: ...)")
        for hook, function in given.items():
            if hook not in HOOKS:
                right = (
                    f"; write {_OTHER_HOOKS[hook]}" if hook in _OTHER_HOOKS else hint_with_list(hook, HOOKS, "hooks")
                )
                raise SettingsError(f"LambdaCallback: {hook}: no such hook{right}")
            setattr(self, hook, _implementation(hook, function))

    def __repr__(self) -> str:
        return f"LambdaCallback({', '.join(hook for hook in HOOKS if hook in vars(self))})"


def _implementation(hook: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a hook implementation that passes on what the function takes."""
    if not callable(function) or isinstance(function, type):
        raise SettingsError(f"LambdaCallback: {hook}={shown(function)}: give a function")
    known = list(inspect.signature(getattr(Hooks, hook)).parameters)[1:]
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        raise SettingsError(
            f"LambdaCallback: {hook}={shown(function)}: its arguments are not known; write a lambda that calls it"
        ) from None
    taken: list[str] = []
    passed: list[str] = []
    for each in parameters:
        if each.kind in (each.VAR_KEYWORD, each.VAR_POSITIONAL):
            raise SettingsError(f"LambdaCallback: {hook} takes {each}; name the arguments: {', '.join(known)}")
        if each.name in known:
            taken.append(each.name)
            passed.append(each.name if each.kind is each.POSITIONAL_ONLY else f"{each.name}={each.name}")
        elif each.default is each.empty:
            other = _OTHER_ARGUMENTS.get(each.name)
            right = f"; take {other}" if other else hint_with_list(each.name, known, "arguments")
            raise SettingsError(f"LambdaCallback: {hook}: no argument {each.name!r}{right}")
    # pluggy reads the names of the arguments from the code of the function
    made = eval(f"lambda {', '.join(taken)}: function({', '.join(passed)})", {"function": function})
    return cast("Callable[..., Any]", hookimpl(made))
