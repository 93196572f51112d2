"""Callbacks: frozen, validated values that a user lists; each creates a new plugin for every run."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import UnionType
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self, Union, cast, get_args, get_origin

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    PlainValidator,
    StringConstraints,
    ValidationError,
    ValidationInfo,
    WrapValidator,
    field_validator,
)
from pydantic.fields import FieldInfo

from .capabilities import HasDirections, in_words, missing
from .errors import MissingCapability, SettingsError, TrainbusError, UnknownDirection
from .limits import check_whole_number
from .metrics.direction import direction_of
from .metrics.monitor import direction_for
from .metrics.names import canonical, hint_with_list
from .metrics.scalars import as_number
from .option_errors import explained
from .planned_training import PlannedTraining
from .storage.paths import expanded, location

Mode = Literal["auto", "min", "max"]


def _bool_to_int(value: object) -> object:
    return int(value) if isinstance(value, bool) else value


def _path_to_text(value: object) -> object:
    return os.fspath(cast("os.PathLike[str]", value)) if isinstance(value, os.PathLike) else value


def _check_text(path: str) -> str:
    if not path:
        raise ValueError("give a path; an empty text names none")
    if "\0" in path:
        raise ValueError("a path cannot contain a null character")
    try:
        path.encode()
    except UnicodeEncodeError:
        raise ValueError("a path must be text; rename it so that UTF-8 can represent its name") from None
    return path


PathText = Annotated[
    str,
    BeforeValidator(_path_to_text),
    AfterValidator(_check_text),
    AfterValidator(expanded),
]
"""A path, stored as text, which JSON and TOML can represent; a leading "~" becomes the home directory."""

_WORDS = {int: "a whole number", float: "a number", bool: "True or False", type(None): "None"}


def _type_of(value: Any) -> str:
    """Return the type of a value in words, of an array with the type of its elements."""
    if hasattr(value, "mask"):
        return "masked"
    dtype = getattr(value, "dtype", None)
    if dtype is None or not getattr(value, "shape", ()):
        return type(value).__name__
    return f"{type(value).__name__} of {math.prod(value.shape)} {dtype}"


def _plain_kinds(field: FieldInfo) -> frozenset[type]:
    """Return the types of an option that is a number or a bool; empty for any other."""
    is_union = get_origin(field.annotation) in (Union, UnionType)
    members: tuple[Any, ...] = get_args(field.annotation) if is_union else (field.annotation,)
    kinds = frozenset(get_args(each)[0] if get_origin(each) is Annotated else each for each in members)
    converts = any(isinstance(each, (BeforeValidator, PlainValidator, WrapValidator)) for each in field.metadata)
    return kinds if kinds <= set(_WORDS) and not converts else frozenset()


Verbose = Annotated[Literal["auto", 0, 1, 2], BeforeValidator(_bool_to_int)]


class Callback(BaseModel):
    """Base class of every callback: an immutable, hashable value, compared by its options, with a JSON form.

    A subclass declares its options as pydantic fields and creates its plugin in ``plugin``. Options are keyword
    arguments; a field declared with ``Field(kw_only=False)`` may be positional as well.

    Raises:
        SettingsError: Options are wrong or unknown; the message names each of them and the nearest right name.

    >>> class Shout(Callback):
    ...     volume: int = 3
    ...     def plugin(self) -> object:
    ...         return object()
    >>> Shout(volume=5)
    Shout(volume=5)
    >>> Shout(volum=5)
    Traceback (most recent call last):
        ...
    trainbus.errors.SettingsError: Shout: volum: unknown option; did you mean 'volume'? options: volume
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True)

    elsewhere: ClassVar[Mapping[str, str]] = {}
    """Names of options in other libraries, each with what to write instead, for messages."""

    @field_validator("*", mode="before")
    @classmethod
    def _refuse_conversions(cls, value: object, info: ValidationInfo) -> object:
        """Read as a number what a metric may be, and refuse other conversions that pydantic makes.

        These are strings for numbers and bools, and bools for numbers.
        """
        check_whole_number(value)
        kinds: frozenset[type] = _plain_kinds(cls.model_fields[info.field_name]) if info.field_name else frozenset()
        if not kinds or type(value) in kinds or value is None:
            return value
        wanted = " or ".join(_WORDS[kind] for kind in (bool, float, int, type(None)) if kind in kinds)
        if isinstance(value, (str, bool)):
            raise ValueError(f"give {wanted}, not {'text' if isinstance(value, str) else 'a bool'}")  # noqa: TRY004
        if isinstance(value, (int, float)) or not kinds & {int, float}:
            return value
        try:
            number = as_number(value)
        except TypeError:
            raise ValueError(f"give {wanted}, not a value of type {_type_of(value)}") from None
        return int(number) if number.is_integer() else number

    if not TYPE_CHECKING:  # checkers derive the signature from the fields

        def __init__(self, *positional: Any, **options: Any) -> None:
            names = [name for name, field in type(self).model_fields.items() if field.kw_only is False]
            if len(positional) > len(names):
                allowed = f"only {', '.join(names)} by position" if names else "only options by name"
                raise SettingsError(
                    f"{type(self).__name__} takes {allowed}, but {len(positional)} positional arguments were given; "
                    f"write option=value: {', '.join(type(self).model_fields)}"
                )
            for name, value in zip(names, positional, strict=False):
                if name in options:
                    raise SettingsError(f"{type(self).__name__}: {name} is given twice; give it once")
                options[name] = value
            try:
                super().__init__(**options)
            except ValidationError as error:
                raise explained(type(self).__name__, list(type(self).model_fields), self.elsewhere, error) from None

        def __setattr__(self, name: str, value: object) -> None:
            if name.startswith("_"):
                super().__setattr__(name, value)
                return
            own, options = type(self).__name__, type(self).model_fields
            if name not in options:
                raise SettingsError(f"{own}: {name}: unknown option{hint_with_list(name, options, 'options')}")
            raise SettingsError(
                f"{own}: {name} cannot be set: callbacks are immutable; make a new one: {own}({name}={value!r}, ...)"
            )

        def __delattr__(self, name: str) -> None:
            raise SettingsError(f"{type(self).__name__}: {name} cannot be deleted: callbacks are immutable")

        def __getattr__(self, name: str) -> Any:
            if name.startswith(("on_", "set_")):  # a framework calls it like its own callbacks
                own = type(self).__name__
                raise AttributeError(
                    f"{own} has no {name!r}: it is a trainbus callback, which needs an adapter of its framework; "
                    f"with Keras, pass callbacks=[KerasCallback([{own}(...)])] from trainbus.adapters.keras"
                )
            if name.startswith("_"):
                return super().__getattr__(name)
            own = type(self).__name__
            raise AttributeError(
                f"{own} has no {name!r}: it holds only options; the results of a run are in run.result"
            )

    def __str__(self) -> str:
        return repr(self)

    def plugin(self) -> object:
        """Return a new plugin for one run: an object with hook implementations."""
        raise NotImplementedError(f"{type(self).__name__} must define plugin(self)")

    def with_option(self, name: str, value: object) -> Self:
        """Return the callback with another value of an option, which is not checked; itself if it has this value."""
        return self if getattr(self, name) == value else self.model_copy(update={name: value})

    def requires(self) -> tuple[type, ...]:
        """Return the capabilities that the callback needs with these options."""
        return ()

    def validate_for(self, subject: object) -> Iterator[TrainbusError]:
        """Yield the reasons why the callback cannot work with ``subject``; called before the training begins."""
        for capability in self.requires():
            why = missing(subject, capability)
            if why:
                yield MissingCapability(f"{type(self).__name__} needs {in_words(capability)}, but {why}")

    def epoch_options(self) -> Mapping[str, str]:
        """Return the options that count epochs, each with what to write in a loop by steps, which has none."""
        return {}

    def idle_reason(self, planned: PlannedTraining) -> str:
        """Return why the callback can never act in what the loop will train; an empty text if it may act.

        A run logs it in one line before the first epoch, or before the first batch if it follows from their number.

        Args:
            planned: What the loop will train.
        """
        return ""

    def unused_options(self) -> str:
        """Return which given options have no effect beside the others, and what to do; an empty text if all have one.

        A run logs it in one line before the first epoch.
        """
        return ""

    def exclusive_paths(self, subject: object = None) -> tuple[str, ...]:
        """Return absolute paths that only one callback of a run on ``subject`` may write."""
        return ()

    def locked_directories(self) -> tuple[str, ...]:
        """Return absolute paths of directories that no other run may write to during this one."""
        return ()

    def directories(self) -> tuple[str, ...]:
        """Return absolute paths of directories that it writes to; the journal is written to the first of them."""
        return self.locked_directories()

    def path_settings(self) -> tuple[str, ...]:
        """Return the names of the settings that are paths: a run that was moved has the same settings elsewhere."""
        return ()

    def checkpoint_patterns(self, subject: object = None) -> tuple[str, ...]:
        """Return ``glob`` patterns of the checkpoints of ``subject`` that the callback may have written."""
        return ()

    def effective_settings(self, subject: object = None) -> dict[str, Any]:
        """Return the effective settings: equal for all settings with the same effect on this subject.

        A resumed run compares these with the effective settings in the checkpoint. They omit each setting that changes
        no decision, and different ways to write one setting become equal.

        Args:
            subject: What is trained; its metric objects may declare the directions of metrics.
        """
        return {name: value for name, value in self.settings().items() if name not in ("callback", "verbose")}

    def compatible_with(self, earlier: Mapping[str, Any], subject: object = None) -> bool:
        """Return whether its plugin can continue from a state dict that was saved under earlier settings.

        Args:
            earlier: The effective settings of that callback.
            subject: What is trained.
        """
        return True

    def settings(self) -> dict[str, Any]:
        """Return the options that are not None as plain data; ``trainbus.callbacks_from`` makes an equal callback."""
        return {"callback": type(self).__name__, **self.model_dump(mode="json", exclude_none=True)}


class MonitoredCallback(Callback):
    """Base class of the callbacks that monitor one metric."""

    monitor: Annotated[str, StringConstraints(min_length=1)] = "val_loss"
    """Name under which the metric is logged."""
    verbose: Verbose = 0
    """0 prints nothing; 1 a progress bar and every decision; 2 a line for each epoch and every decision; "auto" is 1 in
    a terminal or a notebook, else 2."""
    mode: Mode = "auto"
    """Whether lower ("min") or higher ("max") values are better; "auto" takes the direction from the metric object, or
    else from the metric's name.
    """

    def monitors(self) -> bool:
        """Return whether the callback uses the metric with these options."""
        return True

    def monitored(self) -> tuple[tuple[str, Mode], ...]:
        """Return each metric that the callback uses, and its mode."""
        return ((self.monitor, self.mode),) if self.monitors() else ()

    def effective_settings(self, subject: object = None) -> dict[str, Any]:
        """Return the settings with the direction of the metric in words, and without the metric if it is not used."""
        settings = super().effective_settings(subject)
        if not self.monitors():
            return {name: value for name, value in settings.items() if name not in ("monitor", "mode")}
        names = [canonical(name) for name, _ in self.monitored()]
        modes = [direction_or_auto(subject, *each) for each in self.monitored()]
        several = len(names) > 1
        return {**settings, "monitor": names if several else names[0], "mode": modes if several else modes[0]}

    def compatible_with(self, earlier: Mapping[str, Any], subject: object = None) -> bool:
        """Return whether it monitors the same metric in the same direction, or does not use the metric."""
        now = self.effective_settings(subject)
        return not self.monitors() or all(earlier.get(name) == now[name] for name in ("monitor", "mode"))

    def validate_for(self, subject: object) -> Iterator[TrainbusError]:
        """Also yield a metric whose direction neither the subject nor its name gives."""
        yield from super().validate_for(subject)
        yield from unknown_directions(type(self).__name__, subject, self.monitored())


def unknown_directions(
    callback: str, subject: object, metrics: Sequence[tuple[str, Mode]], option: str = "mode"
) -> Iterator[UnknownDirection]:
    """Yield an error for each metric whose direction neither the subject nor its mode or name gives.

    Args:
        callback: The name of the callback, for the messages.
        subject: What is trained.
        metrics: The name and the mode of each metric.
        option: The option that gives the modes.
    """
    for number, (name, mode) in enumerate(metrics):
        if mode == "auto" and missing(subject, HasDirections):
            given = [str(each) for _, each in metrics]
            modes = (
                each if len(given) == 1 else [*given[:number], each, *given[number + 1 :]] for each in ("max", "min")
            )
            fix = " or ".join(f"{option}={each!r}" for each in modes).replace("'", '"')
            try:
                direction_of(name, f"write {fix}")
            except UnknownDirection as error:
                yield UnknownDirection(f"{callback}: {error}")


def direction_or_auto(subject: object, metric: str, mode: Mode) -> Mode:
    """Return the direction of a metric; "auto" if it is unknown before the training."""
    if mode == "auto":
        with suppress(UnknownDirection):
            return direction_for(subject, metric)
    return mode


def journal_directory(callbacks: Iterable[Callback]) -> Path | None:
    """Return the directory on the local disk for the records of a run; None if there is none.

    It is the first locked directory, such as that of checkpoints, else the first one that a callback writes to.
    """
    callbacks = list(callbacks)
    locked = [each for callback in callbacks for each in callback.locked_directories()]
    written = [each for callback in callbacks for each in callback.directories()]
    return next((place for place in map(location, (*locked, *written)) if isinstance(place, Path)), None)
