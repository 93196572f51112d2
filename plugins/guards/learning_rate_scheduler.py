"""Set the learning rate of each epoch by a function."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from importlib import import_module
from math import inf
from typing import Annotated, Any, ClassVar, cast

from pydantic import Field, PlainSerializer, PlainValidator, WithJsonSchema

from trainbus import Callback, Decision, Run, SettingsError, TrainbusError, decision, hookimpl
from trainbus.callback import Verbose
from trainbus.capabilities import HasLearningRate
from trainbus.metrics.names import hint
from trainbus.metrics.scalars import as_number

NAME = "LearningRateScheduler"
_FORMS = "give schedule(epoch), schedule(epoch, lr), or the name of such a function as 'module:function'"


def _check(schedule: object) -> object:
    if isinstance(schedule, str):
        module, _, name = schedule.partition(":")
        if "<" in name:
            raise ValueError(
                "only a function that a module defines has a name to import it by; give it one, as in 'module:function'"
            )
        if not all(part.isidentifier() for part in (*module.split("."), *name.split("."))):
            raise ValueError(_FORMS)
        return schedule
    if not callable(schedule) or isinstance(schedule, type):
        raise ValueError(_FORMS)  # noqa: TRY004 - pydantic reports it
    if _arguments(schedule) is None:
        raise ValueError(f"it does not take the epoch; {_FORMS}")
    return schedule


def _arguments(schedule: Callable[..., Any]) -> int | None:
    """Return how many arguments the function is called with: 2 if it takes two, else 1; None if it takes neither."""
    try:
        signature = inspect.signature(schedule)
    except (TypeError, ValueError):  # of a function in C
        return 2
    for count in (2, 1):
        try:
            signature.bind(*range(count))
        except TypeError:
            continue
        return count
    return None


def _name_of(schedule: Any) -> str:
    if isinstance(schedule, str):
        return schedule
    kind: Any = schedule if hasattr(schedule, "__qualname__") else cast("object", schedule).__class__
    name = f"{kind.__module__}:{kind.__qualname__}"
    found = _found(sys.modules.get(kind.__module__), kind.__qualname__)
    return name if found is schedule or "<" in name else f"{name}.<value>"


def _found(module: object, path: str) -> Any:
    for name in path.split("."):
        module = getattr(module, name, None)
    return module


Schedule = Annotated[
    Callable[[int], Any] | Callable[[int, float], Any] | str,
    PlainValidator(_check),
    PlainSerializer(_name_of, return_type=str),
    WithJsonSchema({"type": "string", "pattern": r"^[\w.]+:[\w.]+$"}),
]
"""A function, or its name, which is imported before the training."""


class LearningRateScheduler(Callback):
    """Set the learning rate at the beginning of each epoch to what ``schedule`` returns, as in Keras 3.15.1.

    ``schedule(epoch)`` or ``schedule(epoch, lr)`` gets the epoch, counted from 0, and the present rate without the cuts
    of the run. The cuts, such as those of ReduceLROnPlateau, apply to what it returns. It may also return a mapping
    from names of rates to rates.

    >>> LearningRateScheduler(lambda: 0.1)
    Traceback (most recent call last):
        ...
    trainbus.errors.SettingsError: LearningRateScheduler: schedule=...: it does not take the epoch; give schedule(...
    """

    elsewhere: ClassVar[Mapping[str, str]] = {
        "func": "schedule",
        "function": "schedule",
        "lr_lambda": "schedule",
        "lr_schedule": "schedule",
        "scheduler": "schedule",
    }

    schedule: Schedule = Field(kw_only=False)
    """Function of the epoch, or of the epoch and the present rate, that returns the rate; or its name, as
    "module:function"."""
    verbose: Verbose = 0
    """0 prints nothing; 1 a progress bar and every decision; 2 a line for each epoch and every decision; "auto" is 1 in
    a terminal or a notebook, else 2."""

    def requires(self) -> tuple[type, ...]:
        """Require a subject whose learning rate can be changed."""
        return (HasLearningRate,)

    def epoch_options(self) -> Mapping[str, str]:
        """Return ``schedule``, which is a function of the epoch."""
        return {"schedule": "set the rate of the optimizer in the loop, or use a scheduler of its framework"}

    def validate_for(self, subject: object) -> Iterator[TrainbusError]:
        """Also yield why the function that ``schedule`` names cannot be imported."""
        yield from super().validate_for(subject)
        try:
            _imported(self.schedule)
        except SettingsError as error:
            yield error

    def plugin(self) -> object:
        """Return a new plugin for one run."""
        return _Scheduler(self)


def _imported(schedule: Callable[..., Any] | str) -> Callable[..., Any]:
    """Return the function; import it if its name is given.

    Raises:
        SettingsError: There is no such function, or its module cannot be imported.
    """
    if not isinstance(schedule, str):
        return schedule
    given = f"{NAME}: schedule={schedule!r}"
    name, _, path = schedule.partition(":")
    try:
        module = import_module(name)
    except Exception as error:
        raise SettingsError(f"{given}: {name!r} cannot be imported: {type(error).__name__}: {error}") from error
    found = _found(module, path)
    if found is None:
        raise SettingsError(f"{given}: {name!r} has no {path!r}{hint(path, list(vars(module)))}")
    if not callable(found) or isinstance(found, type) or _arguments(found) is None:
        raise SettingsError(f"{given}: it names {found!r}; {_FORMS}")
    return cast("Callable[..., Any]", found)


class _Scheduler:
    """The schedule in one run; it has no state."""

    def __init__(self, settings: LearningRateScheduler) -> None:
        self.settings = settings
        self.asked: tuple[int, frozenset[str]] = (-1, frozenset())
        """The last epoch that the schedule has set, and the names of the rates that it has set in it."""

    @hookimpl
    def on_train_begin(self) -> None:
        self.schedule = _imported(self.settings.schedule)
        self.takes_rate = _arguments(self.schedule) == 2

    @hookimpl
    def on_epoch_begin(self, run: Run, epoch: int) -> Decision | None:
        present = run.learning_rates_without_cuts()
        if not present:  # of a Keras model that trains with other optimizers, which its adapter reports
            return None
        asked = self._asked(epoch, present)
        self._check_others(run, asked)
        shown = ", ".join(dict.fromkeys(f"{rate:.6g}" for rate in asked.values()))
        return decision.set_learning_rate(asked, reason=f"the schedule asks for {shown}")

    def _check_others(self, run: Run, asked: Iterable[str]) -> None:
        """Refuse another schedule of the same rates: of two rates that are set, only the lower one counts.

        Raises:
            SettingsError: Another plugin has set one of the rates in this epoch.
        """
        self.asked = run.epoch, frozenset(asked)
        others = {name: each for name, each in run.plugins.items() if isinstance(each, _Scheduler)}
        own = next((name for name, each in others.items() if each is self), NAME)
        for name, each in others.items():
            both = self.asked[1] & each.asked[1]
            if each is not self and each.asked[0] == run.epoch and both:
                raise SettingsError(
                    f"{name} and {own} both set {', '.join(sorted(both))} in epoch {run.epoch + 1}; remove one, or let "
                    "each return a mapping with the names of its own rates"
                )

    def _asked(self, epoch: int, present: Mapping[str, float]) -> dict[str, float]:
        """Return the rate of each name that the schedule sets."""
        if self.takes_rate:
            return {name: _number(self.schedule(epoch, rate), epoch) for name, rate in present.items()}
        returned = self.schedule(epoch)
        if not isinstance(returned, Mapping):
            return dict.fromkeys(present, _number(returned, epoch))
        named = {name: _number(rate, epoch) for name, rate in cast("Mapping[str, object]", returned).items()}
        for name in named:
            if name not in present:
                near = hint(str(name), present)
                raise SettingsError(
                    f"{NAME}: the schedule named {name!r} for epoch={epoch}, which is not a learning rate{near} "
                    f"learning rates: {', '.join(present)}"
                )
        if not named:
            raise SettingsError(f"{NAME}: the schedule returned no rate for epoch={epoch}; return at least one")
        return named


def _number(returned: object, epoch: int) -> float:
    """Return what a schedule has returned as a number.

    Raises:
        SettingsError: It is not a finite number of at least 0.
    """
    if isinstance(returned, Mapping):
        raise SettingsError(
            f"{NAME}: the schedule returned {returned!r} for one of the rates of epoch={epoch}; to return rates by "
            "name, let it take the epoch only"
        )
    try:
        rate = as_number(returned)
    except TypeError:
        rate = -1.0
    if not 0 <= rate < inf:
        raise SettingsError(
            f"{NAME}: the schedule returned {returned!r} for epoch={epoch}, counted from 0; return a finite "
            "number, 0 or above"
        )
    return rate
