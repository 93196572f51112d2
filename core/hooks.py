"""The events that plugins implement, and the pluggy marker for it.

A plugin is any object with methods that are marked ``@hookimpl`` and named like the hooks below. Arguments are passed
by name: an implementation takes only those that it needs. It returns a ``Decision`` or None; the decisions of all
plugins are joined into one. The return values of the hooks after ``on_exception`` are ignored. A plugin whose
attribute ``critical`` is False is an observer: an error that it raises is reported, and the training continues. Epochs
and batches count from 0.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, cast

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
    if all(options is None for _, options in found):
        raise SettingsError(
            f"{name} is not a callback; list callbacks of trainbus.plugins, or objects with methods that are marked "
            f"@trainbus.hookimpl and named {', '.join(HOOKS)}"
        )


def implements_hooks(candidate: object) -> bool:
    """Return whether an object has methods that are marked as hook implementations.

    >>> implements_hooks("a name")
    False
    """
    return any(options is not None for _, options in _implementations(candidate))


def _implementations(plugin: object) -> list[tuple[str, dict[str, Any] | None]]:
    """Return each attribute with the options of its marker; None if it is not marked.

    They are looked up statically, since properties of a user's object may have side effects.
    """
    found: list[tuple[str, dict[str, Any] | None]] = []
    for attribute in dict.fromkeys([*dir(type(plugin)), *getattr(plugin, "__dict__", ())]):
        if attribute not in COMMON:
            method = inspect.getattr_static(plugin, attribute, None)
            options: Any = getattr(getattr(method, "__func__", method), f"{PROJECT}_impl", None)
            found.append((attribute, cast("dict[str, Any]", options) if isinstance(options, dict) else None))
    return found


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
