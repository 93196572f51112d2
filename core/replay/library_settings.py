"""The settings of each library's callbacks, and the rules that go with them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import inf, nan
from typing import Annotated, Any, Final, Literal, NamedTuple, get_args

import numpy as np
from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveInt

from trainbus import Callback, MonitoredCallback, SettingsError
from trainbus.metrics.names import hint
from trainbus.plugins import EarlyStopping, ReduceLROnPlateau
from trainbus.rules import Patience, Plateau, plateau_rule, stopping_rule

from . import library_rules as rules

LibraryName = Literal["trainbus", "keras", "torch", "lightning", "ignite"]


class KerasEarlyStopping(MonitoredCallback):
    """The options of Keras's EarlyStopping."""

    min_delta: float = 0.0
    patience: NonNegativeInt = 0
    baseline: float | None = None
    restore_best_weights: bool = False
    start_from_epoch: NonNegativeInt = 0


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
    min_lr: NonNegativeFloat = 0.0
    eps: NonNegativeFloat = 1e-8


class IgniteReduceLROnPlateau(TorchReduceLROnPlateau):
    """The options of Ignite's ReduceLROnPlateauScheduler, which passes all but ``min_lr`` on to PyTorch's."""


Arguments = Mapping[str, Any]
"""Options by name: numbers, or arrays of numbers."""


class StoppingRuleSpec(NamedTuple):
    """How a library stops early."""

    settings: type[MonitoredCallback]
    rule: Callable[..., tuple[Any, Any]]
    initial_state: Any
    arguments: Callable[[Arguments, int], dict[str, Any]]
    """Converts options and the sign (1 if higher is better, else -1) to the keyword arguments of ``rule``."""


class PlateauRuleSpec(NamedTuple):
    """How a library reduces the learning rate."""

    settings: type[MonitoredCallback]
    rule: Callable[..., tuple[Any, Any]]
    initial_state: Any
    arguments: Callable[[Arguments, int], dict[str, Any]]
    """Converts options and the sign (1 if higher is better, else -1) to the keyword arguments of ``rule``."""
    floor: Callable[[Arguments], float]
    """Converts options to the learning rate below which nothing is reduced."""
    takes_reducible: bool
    """Whether ``rule`` takes ``reducible``: whether the rate is above the floor."""


class Library(NamedTuple):
    """A library by whose rules runs are replayed."""

    name: LibraryName
    title: str
    stopping: StoppingRuleSpec
    plateau: PlateauRuleSpec
    notes: tuple[str, ...] = ()
    """Notes for the reader of a result, one sentence each."""


def _trainbus_stopping(options: Arguments, sign: int) -> dict[str, Any]:
    return {
        **_pick(options, "patience", "start_from_epoch"),
        "min_delta": options.get("min_delta", 0.0),
        "baseline": _baseline_score(options, sign, none=-inf),
    }


def _keras_stopping(options: Arguments, sign: int) -> dict[str, Any]:
    return {
        **_pick(options, "patience", "start_from_epoch"),
        "min_delta": abs(options.get("min_delta", 0.0)),
        "baseline": _baseline_score(options, sign, none=nan),
    }


def _lightning_stopping(options: Arguments, sign: int) -> dict[str, Any]:
    good, bad = options.get("stopping_threshold"), options.get("divergence_threshold")
    return {
        **_pick(options, "patience", "min_delta", "check_finite"),
        "stopping_threshold": inf if good is None else sign * good,
        "divergence_threshold": -inf if bad is None else sign * bad,
    }


def _ignite_stopping(options: Arguments, sign: int) -> dict[str, Any]:
    return {**_pick(options, "patience", "cumulative"), **_threshold(options, sign, "abs")}


def _trainbus_plateau(options: Arguments, _: int) -> dict[str, Any]:
    return _pick(options, "patience", "min_delta", "cooldown")


def _torch_plateau(options: Arguments, sign: int) -> dict[str, Any]:
    return {**_pick(options, "patience", "cooldown"), **_threshold(options, sign, "rel")}


def _threshold(options: Arguments, sign: int, default_mode: str) -> dict[str, Any]:
    """Return a relative threshold as a factor of the best score: a falling metric must get below (1 - threshold)."""
    threshold, relative = options.get("threshold", 0.0), options.get("threshold_mode", default_mode) == "rel"
    return {"threshold": threshold, "scale": 1.0 + sign * threshold if relative else nan}


def _pick(options: Arguments, *names: str) -> dict[str, Any]:
    return {name: options[name] for name in names if name in options}


def _baseline_score(options: Arguments, sign: int, none: float) -> Any:
    """Return the baseline as a score, ``none`` if there is none; an array of baselines marks none by NaN."""
    baseline = options.get("baseline")
    if baseline is None:
        return none
    return np.where(np.isnan(baseline), none, sign * baseline) if hasattr(baseline, "shape") else sign * baseline


def _floor(options: Arguments) -> float:
    return float(options["min_lr"])


def _keras_floor(options: Arguments) -> float:
    return float(np.float32(options["min_lr"]))  # Keras keeps it in single precision


def _no_floor(_: Arguments) -> float:
    return 0.0


_TRAINBUS_STOPPING = StoppingRuleSpec(EarlyStopping, stopping_rule, Patience(), _trainbus_stopping)
_TORCH_PLATEAU = PlateauRuleSpec(
    TorchReduceLROnPlateau, rules.torch_plateau_rule, Plateau(), _torch_plateau, _floor, takes_reducible=False
)

LIBRARIES: Final[Mapping[LibraryName, Library]] = {
    "trainbus": Library(
        "trainbus",
        "trainbus",
        _TRAINBUS_STOPPING,
        PlateauRuleSpec(ReduceLROnPlateau, plateau_rule, Plateau(), _trainbus_plateau, _floor, takes_reducible=True),
    ),
    "keras": Library(
        "keras",
        "Keras 3.15",
        StoppingRuleSpec(KerasEarlyStopping, rules.keras_stopping_rule, rules.KerasPatience(), _keras_stopping),
        PlateauRuleSpec(
            ReduceLROnPlateau,
            rules.keras_plateau_rule,
            rules.KerasPlateau(),
            _trainbus_plateau,
            _keras_floor,
            takes_reducible=True,
        ),
    ),
    "torch": Library(
        "torch",
        "PyTorch 2.13",
        _TRAINBUS_STOPPING,
        _TORCH_PLATEAU,
        ("PyTorch has no EarlyStopping: stops follow trainbus's rule.",),
    ),
    "lightning": Library(
        "lightning",
        "Lightning 2.6",
        StoppingRuleSpec(
            LightningEarlyStopping, rules.lightning_stopping_rule, rules.LightningPatience(), _lightning_stopping
        ),
        _TORCH_PLATEAU,
        ("Lightning counts validations: its patience is correct here only with one validation an epoch.",),
    ),
    "ignite": Library(
        "ignite",
        "Ignite 0.5",
        StoppingRuleSpec(IgniteEarlyStopping, rules.ignite_stopping_rule, rules.IgnitePatience(), _ignite_stopping),
        _TORCH_PLATEAU._replace(settings=IgniteReduceLROnPlateau, floor=_no_floor),
    ),
}
_SYNONYMS: Final = {"min_delta": "threshold"}
_NO_EFFECT: Final = frozenset({"verbose", "restore_best_weights"})
"""Options that do not change when a library stops; they are dropped for a library without them."""


def find_library(name: str) -> Library:
    """Return the library of this name.

    Raises:
        SettingsError: No library has this name.

    >>> find_library("kears")
    Traceback (most recent call last):
        ...
    trainbus.errors.SettingsError: unknown library 'kears'; choose from trainbus, keras, torch, lightning, ignite; \
did you mean 'keras'?
    """
    known: Sequence[LibraryName] = get_args(LibraryName)
    for each in known:
        if each == name:
            return LIBRARIES[each]
    raise SettingsError(f"unknown library {name!r}; choose from {', '.join(known)}{hint(name, known, otherwise='')}")


def translate(library: Library, callback: Callback) -> Callback:
    """Return a trainbus callback with the options of this library; other callbacks unchanged.

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
    return callback if kind in (None, type(callback)) else build(kind, callback.model_dump(exclude_unset=True))


def build(kind: type[MonitoredCallback], options: Mapping[str, Any]) -> MonitoredCallback:
    """Return a callback of this kind; ``min_delta`` sets the option ``threshold`` of a kind that calls it so."""
    known = kind.model_fields
    renamed = {_SYNONYMS.get(name, name) if name not in known else name: value for name, value in options.items()}
    return kind(**{name: value for name, value in renamed.items() if name in known or name not in _NO_EFFECT})
