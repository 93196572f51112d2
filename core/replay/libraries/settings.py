"""The settings of each library's callbacks, and the rules that they configure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import inf, nan
from types import MappingProxyType
from typing import Annotated, Any, Final, Literal, NamedTuple

import numpy as np
from pydantic import AfterValidator, Field, NonNegativeFloat, NonNegativeInt, PositiveInt

from trainbus import Callback, MonitoredCallback, SettingsError
from trainbus.callback.option_errors import joined
from trainbus.metrics.names import hint
from trainbus.plugins import EarlyStopping, ReduceLROnPlateau
from trainbus.plugins.comparison import better_arguments
from trainbus.plugins.rate_groups import Floors
from trainbus.rules import Patience, Plateau, early_stopping_rule, plateau_rule, torch_plateau_rule

from . import rules

LibraryName = Literal["trainbus", "keras", "torch", "lightning", "ignite"]


class KerasEarlyStopping(MonitoredCallback):
    """The options of Keras's EarlyStopping."""

    min_delta: float = 0.0
    patience: NonNegativeInt = 0
    baseline: float | None = None
    restore_best_weights: bool = False
    start_from_epoch: NonNegativeInt = 0

    def epoch_options(self) -> Mapping[str, str]:
        """Return ``start_from_epoch``; Keras has nothing that counts steps in its place."""
        start = self.start_from_epoch
        return {f"start_from_epoch={start}": "leave it out"} if start else {}


class KerasReduceLROnPlateau(MonitoredCallback):
    """The options of Keras's ReduceLROnPlateau."""

    factor: Annotated[float, Field(gt=0, lt=1)] = 0.1
    patience: NonNegativeInt = 10
    min_delta: Annotated[float, AfterValidator(abs)] = 1e-4
    cooldown: NonNegativeInt = 0
    min_lr: NonNegativeFloat = 0.0


class LightningEarlyStopping(MonitoredCallback):
    """The options of Lightning's EarlyStopping."""

    min_delta: float = 0.0
    patience: int = 3
    check_finite: bool = True
    stopping_threshold: float | None = None
    divergence_threshold: float | None = None


class IgniteEarlyStopping(MonitoredCallback):
    """The options of Ignite's EarlyStopping."""

    patience: PositiveInt
    threshold: NonNegativeFloat = 0.0
    threshold_mode: Literal["abs", "rel"] = "abs"
    cumulative: bool = False


class TorchReduceLROnPlateau(MonitoredCallback):
    """The options of PyTorch's ReduceLROnPlateau."""

    factor: Annotated[float, Field(lt=1)] = 0.1
    patience: NonNegativeInt = 10
    threshold: float = 1e-4
    threshold_mode: Literal["rel", "abs"] = "rel"
    cooldown: NonNegativeInt = 0
    min_lr: Floors = 0.0
    eps: NonNegativeFloat = 1e-8


class IgniteReduceLROnPlateau(TorchReduceLROnPlateau):
    """The options of Ignite's ReduceLROnPlateauScheduler, which passes all but ``min_lr`` on to PyTorch's."""


Arguments = Mapping[str, Any]
"""Options by name: numbers, or arrays of numbers."""


class RuleSpec(NamedTuple):
    """The rule by which a library stops early or reduces the learning rate."""

    settings: type[MonitoredCallback]
    rule: Callable[..., tuple[Any, Any]]
    initial_state: Any
    arguments: Callable[[Arguments, int], dict[str, Any]]
    """Converts options and the sign (1 if higher is better, else -1) to the keyword arguments of ``rule``."""
    floor: Callable[[float], float] | None = None
    """Converts ``min_lr``, or that of one rate, to the learning rate at which the rule stops reducing; None if the rule
    has no such option."""
    takes_reducible: bool = False
    """Whether ``rule`` takes ``reducible``: whether the rate is above the floor."""
    alternatives: Mapping[str, Callable[..., tuple[Any, Any]]] = MappingProxyType({})
    """The rules that an option ``rule`` chooses in place of ``rule``."""

    def chosen(self, options: Arguments) -> Callable[..., tuple[Any, Any]]:
        """Return the rule for these options."""
        return self.alternatives.get(options.get("rule", ""), self.rule)


class Library(NamedTuple):
    """A library whose rules can be used to replay runs."""

    name: LibraryName
    title: str
    stopping: RuleSpec
    plateau: RuleSpec
    notes: tuple[str, ...] = ()
    """Notes to show with a result, one sentence each."""
    epoch_notes: tuple[str, ...] = ()
    """Further notes, for loops over epochs."""


def _trainbus_stopping(options: Arguments, sign: int) -> dict[str, Any]:
    return {
        **_pick(options, "patience", "start_from_epoch", "check_finite", "min_epochs", "min_steps"),
        **better_arguments(options),
        "baseline": _score(options, "baseline", sign, none=-inf),
        "stopping_threshold": _score(options, "stopping_threshold", sign, none=inf),
        "divergence_threshold": _score(options, "divergence_threshold", sign, none=-inf),
    }


def _keras_stopping(options: Arguments, sign: int) -> dict[str, Any]:
    baseline = _score(options, "baseline", sign, none=nan)
    return {
        **_pick(options, "patience", "start_from_epoch"),
        "min_delta": abs(options["min_delta"]),
        "baseline": baseline,
    }


def _lightning_stopping(options: Arguments, sign: int) -> dict[str, Any]:
    return {
        **_pick(options, "patience", "min_delta", "check_finite"),
        "stopping_threshold": _score(options, "stopping_threshold", sign, none=inf),
        "divergence_threshold": _score(options, "divergence_threshold", sign, none=-inf),
    }


def _ignite_stopping(options: Arguments, sign: int) -> dict[str, Any]:
    return {**_pick(options, "patience", "cumulative"), **_threshold(options, sign)}


def _trainbus_plateau(options: Arguments, _: int) -> dict[str, Any]:
    return {**_pick(options, "patience", "cooldown"), **better_arguments(options)}


def _keras_plateau(options: Arguments, _: int) -> dict[str, Any]:
    return _pick(options, "patience", "min_delta", "cooldown")


def _torch_plateau(options: Arguments, sign: int) -> dict[str, Any]:
    return {**_pick(options, "patience", "cooldown"), **_threshold(options, sign)}


def _threshold(options: Arguments, sign: int) -> dict[str, Any]:
    """Return a relative threshold as a factor of the best score; if lower is better, the factor is 1 - threshold."""
    threshold, relative = options["threshold"], options.get("threshold_mode") == "rel"
    return {"threshold": threshold, "scale": 1.0 + sign * threshold if relative else nan}


def _pick(options: Arguments, *names: str) -> dict[str, Any]:
    return {name: options[name] for name in names if name in options}


def _score(options: Arguments, name: str, sign: int, none: float) -> Any:
    """Return a bound of the metric as a bound of the score; ``none`` if it is not set (None, or NaN in an array)."""
    bound = options.get(name)
    return none if bound is None else np.where(np.isnan(bound), none, sign * np.asarray(bound))


def _keras_floor(min_lr: float) -> float:
    return float(np.float32(min_lr))  # Keras stores it in single precision


_TRAINBUS = Library(
    "trainbus",
    "trainbus",
    RuleSpec(EarlyStopping, early_stopping_rule, Patience(), _trainbus_stopping),
    RuleSpec(
        ReduceLROnPlateau,
        plateau_rule,
        Plateau(),
        _trainbus_plateau,
        float,
        takes_reducible=True,
        alternatives={"torch": torch_plateau_rule},
    ),
)
_KERAS = Library(
    "keras",
    "Keras 3.15",
    RuleSpec(KerasEarlyStopping, rules.keras_stopping_rule, rules.LibraryPatience(), _keras_stopping),
    RuleSpec(
        KerasReduceLROnPlateau,
        rules.keras_plateau_rule,
        rules.KerasPlateau(),
        _keras_plateau,
        _keras_floor,
        takes_reducible=True,
    ),
)
_TORCH = Library(
    "torch",
    "PyTorch 2.13",
    _TRAINBUS.stopping,
    RuleSpec(TorchReduceLROnPlateau, rules.torch_plateau_rule, Plateau(), _torch_plateau, float),
    ("PyTorch has no EarlyStopping: stops follow trainbus's rule.",),
)
_LIGHTNING = Library(
    "lightning",
    "Lightning 2.6",
    RuleSpec(LightningEarlyStopping, rules.lightning_stopping_rule, rules.LibraryPatience(), _lightning_stopping),
    _TORCH.plateau,
    epoch_notes=("Lightning counts validations: its patience is correct here only with one validation an epoch.",),
)
_IGNITE = Library(
    "ignite",
    "Ignite 0.5",
    RuleSpec(IgniteEarlyStopping, rules.ignite_stopping_rule, rules.LibraryPatience(), _ignite_stopping),
    RuleSpec(IgniteReduceLROnPlateau, rules.torch_plateau_rule, Plateau(), _torch_plateau),
)
LIBRARIES: Final[Mapping[str, Library]] = {each.name: each for each in (_TRAINBUS, _KERAS, _TORCH, _LIGHTNING, _IGNITE)}
_NAMES: Final[Mapping[type[Callback], str]] = {
    spec.settings: name
    for each in LIBRARIES.values()
    for spec, name in ((each.stopping, "EarlyStopping"), (each.plateau, "ReduceLROnPlateau"))
}
_SYNONYMS: Final = {
    "min_delta": "threshold",
    "min_delta_mode": "threshold_mode",
    "cumulative_delta": "cumulative",
}
_NO_EFFECT: Final = frozenset({"verbose", "restore_best_weights"})
"""Options that do not affect when a library stops; ``translate`` omits those that the library does not have."""


def find_library(name: str) -> Library:
    """Return the library with this name.

    Raises:
        SettingsError: No library has this name.

    >>> find_library("kears")
    Traceback (most recent call last):
        ...
    trainbus.errors.SettingsError: unknown library 'kears'; choose from trainbus, keras, torch, lightning, ignite; \
did you mean 'keras'?
    """
    if name not in LIBRARIES:
        known = ", ".join(LIBRARIES)
        raise SettingsError(f"unknown library {name!r}; choose from {known}{hint(name, LIBRARIES, otherwise='')}")
    return LIBRARIES[name]


def translate(library: Library, callback: Callback) -> Callback:
    """Convert a trainbus callback to the options of this library; return other callbacks unchanged.

    Raises:
        SettingsError: An option is set that the library does not have.

    >>> translate(LIBRARIES["torch"], ReduceLROnPlateau(patience=2, min_delta=0.1)).threshold
    0.1
    """
    kind = None
    if type(callback) is EarlyStopping:
        kind = library.stopping.settings
    elif type(callback) is ReduceLROnPlateau:
        kind = library.plateau.settings
    return callback if kind in (None, type(callback)) else build(kind, callback.model_dump(exclude_unset=True), library)


def name_of(kind: type[Callback]) -> str:
    """Return the name of a callback, which is the same in every library.

    >>> name_of(KerasEarlyStopping), name_of(TorchReduceLROnPlateau), name_of(Callback)
    ('EarlyStopping', 'ReduceLROnPlateau', 'Callback')
    """
    return _NAMES.get(kind, kind.__name__)


def option_of(kind: type[MonitoredCallback], name: str) -> str:
    """Return the name that an option of trainbus's callback has in this class; the name itself if it has none.

    >>> option_of(IgniteEarlyStopping, "min_delta"), option_of(KerasEarlyStopping, "min_delta_mode")
    ('threshold', 'min_delta_mode')
    """
    other = _SYNONYMS.get(name, name)
    return other if name not in kind.model_fields and other in kind.model_fields else name


def required_by(kind: type[MonitoredCallback]) -> dict[str, Any]:
    """Return a value for each option that a callback of this class must have."""
    return {name: 1 for name, field in kind.model_fields.items() if field.is_required()}


def build(kind: type[MonitoredCallback], options: Mapping[str, Any], library: Library) -> MonitoredCallback:
    """Return a callback of this class; ``min_delta`` sets the option ``threshold`` if the class has that option.

    Args:
        kind: The class.
        options: The options by name.
        library: The library of the class.

    Raises:
        SettingsError: An option is wrong or unknown; the message names it as it is given.
    """
    known = kind.model_fields
    renamed = {option_of(kind, name): value for name, value in options.items()}
    try:
        return kind(**{name: value for name, value in renamed.items() if name in known or name not in _NO_EFFECT})
    except SettingsError as error:
        if not error.problems:
            raise
        given = {option_of(kind, name): name for name in options}
        problems = [(place, _as_given(why, place, given)) for place, why in error.problems]
        name = name_of(kind)
        owner = name if kind.__name__ == name else f"{name} of {library.title}"
        raise joined(owner, problems) from None


def _as_given(why: str, place: Sequence[str | int], given: Mapping[str, str]) -> str:
    """Return a problem with the name of the option as it is given."""
    name = str(place[0]) if place else ""
    return f"{given[name]}{why.removeprefix(name)}" if name in given and why.startswith(name) else why
