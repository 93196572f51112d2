"""What a user lists: frozen, validated values that make a plugin for each run."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, cast

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, StringConstraints, ValidationError

from .capabilities import HasDirections, missing
from .errors import MissingCapability, SettingsError, TrainbusError, UnknownDirection
from .metrics.direction import direction_of
from .metrics.names import canonical, hint
from .storage.paths import location

__all__ = ["Callback", "Mode", "MonitoredCallback", "PathText", "Verbose", "find_conflicts", "journal_directory"]

Mode = Literal["auto", "min", "max"]


def _truth_as_number(value: object) -> object:
    return int(value) if isinstance(value, bool) else value


def _path_as_text(value: object) -> object:
    return os.fspath(cast("os.PathLike[str]", value)) if isinstance(value, os.PathLike) else value


def _without_null(path: str) -> str:
    if "\0" in path:
        raise ValueError("a path cannot hold a null character")
    return path


PathText = Annotated[
    str, BeforeValidator(_path_as_text), StringConstraints(min_length=1), AfterValidator(_without_null)
]
"""A path, kept as text so that it goes into JSON and TOML."""

Verbose = Annotated[Literal["auto", 0, 1, 2], BeforeValidator(_truth_as_number)]


class Callback(BaseModel):
    """Base of every callback: a value without state, equal when equal, hashable, to and from JSON.

    A subclass declares its options as pydantic fields and makes its listener in `plugin`. Options go by keyword;
    a field declared with `Field(kw_only=False)` goes positionally as well.

    Raises:
        SettingsError: options are wrong or unknown; the message names each with the nearest right one.

    >>> class Shout(Callback):
    ...     volume: int = 3
    ...     def plugin(self) -> object:
    ...         return object()
    >>> Shout(volume=5)
    Shout(volume=5)
    >>> Shout(volum=5)
    Traceback (most recent call last):
        ...
    trainbus.errors.SettingsError: Shout: volum: no such option; did you mean 'volume'? options: volume
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True)

    if not TYPE_CHECKING:  # checkers derive the signature from the fields

        def __init__(self, *positional: Any, **options: Any) -> None:
            names = [name for name, field in type(self).model_fields.items() if field.kw_only is False]
            if len(positional) > len(names):
                allowed = f"only {', '.join(names)} may go" if names else "none goes"
                raise SettingsError(
                    f"{type(self).__name__}: {len(positional)} options without a name; {allowed} without one, "
                    f"give the others as option=value: {', '.join(type(self).model_fields)}"
                )
            for name, value in zip(names, positional, strict=False):
                if name in options:
                    raise SettingsError(f"{type(self).__name__}: {name} is given twice")
                options[name] = value
            try:
                super().__init__(**options)
            except ValidationError as error:
                raise _explained(type(self), error) from None

        def __getattr__(self, name: str) -> Any:
            if name.startswith(("on_", "set_")):  # a framework takes it for one of its own callbacks
                own = type(self).__name__
                raise AttributeError(
                    f"{own} has no {name!r}: it is a trainbus callback, which a framework hears through its adapter; "
                    f"with Keras, callbacks=[KerasCallback([{own}(...)])] of trainbus.adapters.keras"
                )
            return super().__getattr__(name)

    def __str__(self) -> str:
        return repr(self)

    def plugin(self) -> object:
        """A new listener for one run: an object with hook implementations."""
        raise NotImplementedError(f"{type(self).__name__} makes no plugin; define plugin(self)")

    def requires(self) -> tuple[type, ...]:
        """The capabilities without which the callback, with these options, cannot work."""
        return ()

    def validate_for(self, subject: object) -> Iterator[TrainbusError]:
        """Why the callback cannot work with `subject`, found before any training time is spent."""
        for capability in self.requires():
            why = missing(subject, capability)
            if why:
                yield MissingCapability(f"{type(self).__name__} needs {capability.__name__}, but {why}")

    def exclusive_paths(self) -> tuple[str, ...]:
        """Absolute paths that only one callback of a run may write."""
        return ()

    def locked_directories(self) -> tuple[str, ...]:
        """Absolute paths of directories into which no other run may write while this one goes on."""
        return ()

    def directories(self) -> tuple[str, ...]:
        """Absolute paths of directories into which it writes; a journal lies in the first of them."""
        return self.locked_directories()

    def checkpoint_patterns(self) -> tuple[str, ...]:
        """What the checkpoints that the callback may have written are called, as patterns for `glob`."""
        return ()

    def compatible_with(self, earlier: Mapping[str, Any]) -> bool:
        """Whether what its plugin remembered under these earlier settings means the same under the present ones."""
        return True

    def settings(self) -> dict[str, Any]:
        """The callback as plain data, which `trainbus.callbacks_from` turns back into an equal one.

        None is left out, so that the data fits TOML as well as JSON.
        """
        return {"callback": type(self).__name__, **self.model_dump(mode="json", exclude_none=True)}


class MonitoredCallback(Callback):
    """Base of the callbacks that watch one metric."""

    monitor: Annotated[str, StringConstraints(min_length=1)] = "val_loss"
    """Name of the metric, as it is logged."""
    verbose: Verbose = 0
    """0 prints nothing; 1 a progress bar and every decision; 2 a line an epoch and every decision; "auto" is 1 on a
    terminal or in a notebook, else 2."""
    mode: Mode = "auto"
    """Whether the metric improves downwards ("min") or upwards ("max"); "auto" asks the metric object, then the
    name."""

    def monitors(self) -> bool:
        """Whether the options make the metric matter at all."""
        return True

    def compatible_with(self, earlier: Mapping[str, Any]) -> bool:
        """The same metric is watched in the same direction, or it does not matter."""
        if not self.monitors():
            return True
        before = canonical(str(earlier.get("monitor", ""))), earlier.get("mode")
        return before == (canonical(self.monitor), self.mode)

    def validate_for(self, subject: object) -> Iterator[TrainbusError]:
        """Also: a direction that neither the subject nor the name of the metric can tell."""
        yield from super().validate_for(subject)
        if self.mode == "auto" and self.monitors() and missing(subject, HasDirections):
            try:
                direction_of(self.monitor)
            except UnknownDirection as error:
                yield UnknownDirection(f"{type(self).__name__}: {error}")


def journal_directory(callbacks: Iterable[Callback]) -> Path | None:
    """The directory on this machine's disk where the records of a run lie; None where there is no place for them.

    It is the first that is owned, as that of checkpoints is, else the first into which a callback writes.
    """
    callbacks = list(callbacks)
    owned = (each for callback in callbacks for each in callback.locked_directories())
    written = (each for callback in callbacks for each in callback.directories())
    places = map(location, (*owned, *written))
    return next((place for place in places if isinstance(place, Path)), None)


def find_conflicts(callbacks: Iterable[Callback]) -> Iterator[tuple[int, str]]:
    """Where two callbacks would write the same: the number of the later one, counted from 0, and what is wrong."""
    claimed: dict[str, tuple[int, Callback]] = {}
    for number, callback in enumerate(callbacks):
        for claim in callback.exclusive_paths():
            first, other = claimed.setdefault(claim, (number, callback))
            if first != number:
                names = " and ".join(dict.fromkeys([type(other).__name__, type(callback).__name__]))
                yield number, f"{names}: two callbacks would write {claim!r}; give each a place of its own"


def _explained(callback: type[BaseModel], error: ValidationError) -> SettingsError:
    """Every problem in one line each, with the nearest right name."""
    options = list(callback.model_fields)
    problems = [(each["loc"], _problem(options, each)) for each in error.errors()]
    told = [why for _, why in problems]
    name = callback.__name__
    explained = SettingsError(f"{name}: {told[0]}" if len(told) == 1 else "\n  ".join([f"{name}:", *told]))
    explained.problems = problems
    return explained


def _problem(options: list[str], error: Mapping[str, Any]) -> str:
    name = ".".join(str(part) for part in error["loc"]) or "options"
    if error["type"] == "extra_forbidden":
        return f"{name}: no such option{hint(name, options)} options: {', '.join(options)}"
    if error["type"] == "missing":
        return f"{name}: needed, and not given"
    said = error["msg"].removeprefix("Value error, ")
    if error["type"] == "literal_error":
        allowed = re.findall(r"'([^']*)'", said)
        said += hint(str(error["input"]), allowed, otherwise="")
    return f"{name}={error['input']!r}: {said[:1].lower()}{said[1:]}"
