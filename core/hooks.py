"""The events that plugins implement, and the pluggy marker for it.

A plugin is any object with methods that are marked ``@hookimpl`` and named like the hooks below. Arguments are passed
by name: an implementation takes only those that it needs. It returns a ``Decision`` or None; the decisions of all
plugins are joined into one. The return values of the hooks after ``on_exception`` are ignored. A plugin whose
attribute ``critical`` is False is an observer: an error that it raises is reported, and the training continues. Epochs
and batches count from 0.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from typing import Any, NamedTuple, TypeVar, cast

import pluggy

from .checkpoints import Checkpoint
from .decision import Decision
from .errors import CheckpointError, SettingsError
from .metrics.names import hint_with_list
from .run_view import RunView
from .storage.paths import Location

PROJECT = "trainbus"

hookimpl = pluggy.HookimplMarker(PROJECT)
"""Marks a method as a hook implementation; takes pluggy's ``tryfirst`` and ``trylast``."""

_spec = pluggy.HookspecMarker(PROJECT)


EVERY_EVENT = "*"
"""The name with which a plugin listens to every event that a loop emits."""
EVENT_ARGUMENTS = ("run", "event", "count", "values")
"""The arguments of a listener besides the values of its event."""
_EVENTS = f"{PROJECT}_events"
"""The attribute of a function that has what it listens to."""

F = TypeVar("F", bound=Callable[..., Any])


class EventFilter(NamedTuple):
    """Which emissions of an event a method hears."""

    event: str
    every: int = 1
    """It hears each n-th."""
    once: int | None = None
    """It hears only this one, counted from 1; None for all."""

    def hears(self, event: str, count: int) -> bool:
        """Return whether it hears the emission with this number, counted from 1 over the whole run.

        >>> [count for count in range(1, 8) if EventFilter("drawn", every=3).hears("drawn", count)]
        [3, 6]
        """
        if self.event not in (event, EVERY_EVENT):
            return False
        return count % self.every == 0 if self.once is None else count == self.once


def listens_to(event: str, *, every: int | None = None, once: int | None = None) -> Callable[[F], F]:
    """Mark a method of a plugin that is called when the loop emits an event: ``run.emit("my_event", value=1)``.

    It takes, by name, what it needs of the event's values and of ``run``, ``event``, ``count`` and ``values``, and
    returns a ``Decision`` or None.

    Args:
        event: The name of the event; "*" for every event.
        every: Hear only each n-th emission, counted over the whole run.
        once: Hear only this emission, counted from 1.

    Raises:
        SettingsError: The name is that of a hook, or ``every`` and ``once`` are not whole numbers or are both given.

    >>> @listens_to("sample_drawn", every=100)
    ... def show(count, text): ...
    >>> listens_to("on_epoch_end")
    Traceback (most recent call last):
        ...
    trainbus.errors.SettingsError: the event 'on_epoch_end' is a hook of every run; give another name, or mark ...
    """
    if event != EVERY_EVENT:
        check_event(event)
    if every is not None and once is not None:
        raise SettingsError(f"listens_to({event!r}): every={every!r} and once={once!r} are both given; give one")
    for name, value in (("every", every), ("once", once)):
        if value is not None and (type(value) is not int or value < 1):
            raise SettingsError(f"listens_to({event!r}): {name}={value!r}: give a whole number of at least 1")

    def mark(method: F) -> F:
        marks = (*getattr(method, _EVENTS, ()), EventFilter(event, every or 1, once))
        try:
            setattr(method, _EVENTS, marks)
        except AttributeError:
            raise SettingsError(f"listens_to({event!r}) marks a function, not {method!r}") from None
        return method

    return mark


def check_event(event: object) -> None:
    """Refuse a name that a loop may not emit.

    Raises:
        SettingsError: It is no text, empty, "*", or the name of a hook.
    """
    if not isinstance(event, str) or not event or event == EVERY_EVENT:
        raise SettingsError(f"the event {event!r} has no name; give text, such as 'sample_drawn'")
    if event in HOOKS or f"on_{event}" in HOOKS:
        raise SettingsError(
            f"the event {event!r} is a hook of every run; give another name, or mark a method with @trainbus.hookimpl"
        )


class Hooks:
    """The events of a training run, in the order in which they happen."""

    @_spec
    def on_train_begin(self, run: RunView) -> Decision | None:
        """The training is about to begin; nothing has been trained yet."""

    @_spec
    def on_epoch_begin(self, run: RunView, epoch: int) -> Decision | None:
        """The epoch is about to begin."""

    @_spec
    def on_batch_begin(self, run: RunView, epoch: int, batch: int) -> Decision | None:
        """The batch is about to be trained on."""

    @_spec
    def on_batch_end(
        self, run: RunView, epoch: int, batch: int, step: int, metrics: Mapping[str, Any]
    ) -> Decision | None:
        """The batch was trained on; the run has made ``step`` weight updates so far.

        ``metrics`` is a live view of the running means since the epoch began; reading one may wait for the device.
        """

    @_spec
    def on_validation_begin(self, run: RunView, epoch: int) -> Decision | None:
        """A validation in the epoch is about to begin."""

    @_spec
    def on_validation_end(self, run: RunView, epoch: int, metrics: Mapping[str, Any]) -> Decision | None:
        """A validation in the epoch has ended; ``metrics`` are its own, with names that begin with ``val_``."""

    @_spec
    def on_epoch_end(self, run: RunView, epoch: int, metrics: Mapping[str, Any]) -> Decision | None:
        """The epoch is over; ``metrics`` holds all of its metrics, and the learning rate that it was trained with."""

    @_spec
    def on_train_end(self, run: RunView) -> Decision | None:
        """The training is over; always called, also after an error, which is then in ``run.error``."""

    @_spec
    def on_exception(self, run: RunView, error: BaseException) -> Decision | None:
        """An error ends the run; it is raised to the user when the run is over.

        ``on_train_end`` follows. Of an error that is raised only then, or on another rank, or when the last decision is
        executed, this is called after ``on_train_end``, and only for plugins that decide.
        """

    @_spec
    def on_decision(self, run: RunView, decision: Decision) -> None:
        """The joined decision was executed."""

    @_spec
    def on_checkpoint(self, run: RunView, checkpoint: Checkpoint) -> None:
        """A checkpoint was committed: its file is complete and on the disk."""

    @_spec
    def on_checkpoint_error(self, run: RunView, path: Location, step: int, error: CheckpointError) -> None:
        """The checkpoint of this step was not written, and the run continues: the content of ``path`` is unchanged."""


HOOKS = tuple(name for name in vars(Hooks) if name.startswith("on_"))
"""The names of all hooks."""
COMMON = frozenset(dir(type("Any", (), {})()))
"""The attributes that every object has; none of them implements a hook."""


def check_plugin(name: str, plugin: object) -> None:
    """Raise an error unless the object implements hooks, all of them spelt correctly.

    Raises:
        SettingsError: A hook or an argument is misspelt, the marker is missing, nothing is implemented, or a hook is
            implemented as a wrapper.

    >>> class Hopeful:
    ...     @hookimpl
    ...     def on_epoch_finish(self): ...
    >>> check_plugin("Hopeful", Hopeful())
    Traceback (most recent call last):
        ...
    trainbus.errors.SettingsError: Hopeful.on_epoch_finish: no such hook; did you mean ...
    """
    if isinstance(plugin, type):
        raise SettingsError(f"{name} is a class; list an object of it: {name}(...)")
    listeners = [*event_listeners(plugin)]
    for attribute, hears in listeners:
        _check_listener(f"{name}.{attribute}", hears.event, getattr(plugin, attribute))
    found = _implementations(plugin)
    for attribute, options in found:
        if options is not None:
            hook = options.get("specname") or attribute
            if options["wrapper"] or options["hookwrapper"]:
                raise SettingsError(
                    f"{name}.{hook} is a hook wrapper, which trainbus does not call; implement the hook"
                )
            _check_implementation(name, hook, getattr(plugin, attribute))
        elif attribute in HOOKS:
            raise SettingsError(f"{name}.{attribute} would not be called; mark it with @trainbus.hookimpl")
    if not listeners and all(options is None for _, options in found):
        if callable(plugin):
            raise SettingsError(_without_hook(plugin))
        raise SettingsError(
            f"{name} is not a callback; list callbacks of trainbus.plugins, or objects with methods that are marked "
            f"@trainbus.hookimpl and named {', '.join(HOOKS)}"
        )


def _without_hook(function: Callable[..., Any]) -> str:
    """Return that a function does not say which hook it is, and what to write."""
    name = getattr(function, "__name__", type(function).__name__)
    given = name if name.isidentifier() else "my_function"
    return (
        f"{name} is a function, which does not say when to call it; list LambdaCallback(on_epoch_end={given}) from "
        f"trainbus.plugins, or for an event of the loop LambdaCallback(listens_to('my_event')({given})); hooks: "
        f"{', '.join(HOOKS)}"
    )


def implements_hooks(candidate: object) -> bool:
    """Return whether an object has methods that are marked as hook implementations.

    >>> implements_hooks("a name")
    False
    """
    return any(options is not None for _, options in _implementations(candidate)) or any(event_listeners(candidate))


def event_listeners(plugin: object) -> Iterator[tuple[str, EventFilter]]:
    """Yield each attribute that ``listens_to`` has marked, with what it hears."""
    for attribute, function in _functions(plugin):
        marks: Any = getattr(function, _EVENTS, ())
        if isinstance(marks, tuple):  # an object may have any attribute that it is asked for
            found = cast("tuple[object, ...]", marks)
            yield from ((attribute, each) for each in found if isinstance(each, EventFilter))


def _implementations(plugin: object) -> list[tuple[str, dict[str, Any] | None]]:
    """Return each attribute with the options of its marker; None if it is not marked."""
    found: list[tuple[str, dict[str, Any] | None]] = []
    for attribute, function in _functions(plugin):
        options: Any = getattr(function, f"{PROJECT}_impl", None)
        found.append((attribute, cast("dict[str, Any]", options) if isinstance(options, dict) else None))
    return found


def _functions(plugin: object) -> Iterator[tuple[str, Any]]:
    """Yield each attribute with its function, or with what it is otherwise.

    They are looked up statically, since properties of a user's object may have side effects.
    """
    for attribute in dict.fromkeys([*dir(type(plugin)), *getattr(plugin, "__dict__", ())]):
        if attribute not in COMMON:
            method = inspect.getattr_static(plugin, attribute, None)
            yield attribute, getattr(method, "__func__", method)


def _check_listener(name: str, event: str, method: Callable[..., Any]) -> None:
    for each in inspect.signature(method).parameters.values():
        if each.kind not in (each.POSITIONAL_OR_KEYWORD, each.KEYWORD_ONLY):
            raise SettingsError(
                f"{name} listens to {event!r} and takes {each}; name the arguments, or take values, a mapping of all"
            )


def _check_implementation(name: str, hook: str, method: Callable[..., Any]) -> None:
    if hook not in HOOKS:
        raise SettingsError(f"{name}.{hook}: no such hook{hint_with_list(hook, HOOKS, 'hooks')}")
    known = _arguments_of(hook)
    for parameter in inspect.signature(method).parameters.values():
        if parameter.kind in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL):
            raise SettingsError(f"{name}.{hook} takes {parameter}; name the arguments: {', '.join(known)}")
        if parameter.default is parameter.empty and parameter.name not in known:
            near = hint_with_list(parameter.name, known, "arguments")
            raise SettingsError(f"{name}.{hook}: no argument {parameter.name!r}{near}")


@cache
def _arguments_of(hook: str) -> list[str]:
    return list(inspect.signature(getattr(Hooks, hook)).parameters)[1:]
