"""A callback: a frozen, validated value that a user lists; it creates a new plugin for every run."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, ValidationError, ValidationInfo, field_validator

from ..capabilities import in_words, missing
from ..errors import MissingCapability, SettingsError, TrainbusError
from ..limits import check_whole_number
from ..metrics.names import hint_with_list
from ..storage.paths import location
from .option_errors import explained
from .option_types import as_option
from .planned_training import PlannedTraining


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
        return value if info.field_name is None else as_option(value, cls.model_fields[info.field_name])

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

    @classmethod
    def from_settings(cls, settings: Mapping[str, Any]) -> Self:
        """Return the callback that a checkpoint describes, to compare it with one of the resumed run.

        Args:
            settings: What ``settings`` returned, without the class. A function has left only its name.

        Raises:
            SettingsError: The class does not accept these options now.
        """
        return cls(**settings)

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


def journal_directory(callbacks: Iterable[Callback]) -> Path | None:
    """Return the directory on the local disk for the records of a run; None if there is none.

    It is the first locked directory, such as that of checkpoints, else the first one that a callback writes to.
    """
    callbacks = list(callbacks)
    locked = [each for callback in callbacks for each in callback.locked_directories()]
    written = [each for callback in callbacks for each in callback.directories()]
    return next((place for place in map(location, (*locked, *written)) if isinstance(place, Path)), None)
