"""By whose rules a list of callbacks is replayed: each library's settings, in its own words, and its rules."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import inf, nan
from typing import Annotated, Any, Final, Literal, NamedTuple, get_args

import numpy as np
from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveInt

from trainbus.plugins import EarlyStopping, ReduceLROnPlateau

from ..callback import Callback, MonitoredCallback
from ..errors import SettingsError
from ..metrics.names import hint
from ..rules import Patience, Plateau, plateau_rule, stopping_rule
from . import library_rules as rules

__all__ = ["LIBRARIES", "Library", "LibraryName", "Plateaus", "Stops", "in_words_of", "library", "made"]

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
    """The options of Ignite's ReduceLROnPlateauScheduler, which hands them to PyTorch's and leaves out `min_lr`."""


Arguments = Mapping[str, Any]
"""Options by name, numbers or arrays of them."""


class Stops(NamedTuple):
    """How a library stops early."""

    settings: type[MonitoredCallback]
    rule: Callable[..., tuple[Any, Any]]
    begin: Any
    arguments: Callable[[Arguments, int], dict[str, Any]]
    """What the rule is given for these options, and for 1 where higher is better, else -1."""


class Plateaus(NamedTuple):
    """How a library reduces the learning rate."""

    settings: type[MonitoredCallback]
    rule: Callable[..., tuple[Any, Any]]
    begin: Any
    arguments: Callable[[Arguments, int], dict[str, Any]]
    floor: Callable[[Arguments], float]
    """Below which no rate is reduced."""
    asks: bool
    """Whether the rule asks if the rate is above its floor."""


class Library(NamedTuple):
    """By whose rules it is decided."""

    name: LibraryName
    title: str
    stops: Stops
    plateaus: Plateaus
    notes: tuple[str, ...] = ()
    """What a reader of the result must know, a sentence each."""


def _own_stop(options: Arguments, sign: int) -> dict[str, Any]:
    baseline = options.get("baseline")
    return {
        **_some(options, "patience", "start_from_epoch"),
        "min_delta": options.get("min_delta", 0.0),
        "baseline": -inf if baseline is None else _turned(baseline, sign, none=-inf),
    }


def _keras_stop(options: Arguments, sign: int) -> dict[str, Any]:
    baseline = options.get("baseline")
    return {
        **_own_stop(options, sign),
        "min_delta": abs(options.get("min_delta", 0.0)),
        "baseline": nan if baseline is None else _turned(baseline, sign, none=nan),
    }


def _lightning_stop(options: Arguments, sign: int) -> dict[str, Any]:
    good, bad = options.get("stopping_threshold"), options.get("divergence_threshold")
    return {
        **_some(options, "patience", "min_delta", "check_finite"),
        "stopping_threshold": inf if good is None else sign * good,
        "divergence_threshold": -inf if bad is None else sign * bad,
    }


def _ignite_stop(options: Arguments, sign: int) -> dict[str, Any]:
    return {**_some(options, "patience", "cumulative"), **_threshold(options, sign, "abs")}


def _own_plateau(options: Arguments, _: int) -> dict[str, Any]:
    return _some(options, "patience", "min_delta", "cooldown")


def _torch_plateau(options: Arguments, sign: int) -> dict[str, Any]:
    return {**_some(options, "patience", "cooldown"), **_threshold(options, sign, "rel")}


def _threshold(options: Arguments, sign: int, usual: str) -> dict[str, Any]:
    """A relative threshold as what multiplies the best score: a metric that falls must fall below (1 - threshold)."""
    threshold, relative = options.get("threshold", 0.0), options.get("threshold_mode", usual) == "rel"
    return {"threshold": threshold, "scale": 1.0 + sign * threshold if relative else nan}


def _some(options: Arguments, *names: str) -> dict[str, Any]:
    return {name: options[name] for name in names if name in options}


def _floor(options: Arguments) -> float:
    return float(options["min_lr"])


def _single_floor(options: Arguments) -> float:
    """As Keras holds it, in single precision."""
    return float(np.float32(options["min_lr"]))


def _no_floor(_: Arguments) -> float:
    return 0.0


def _turned(baseline: Any, sign: int, none: float) -> Any:
    """A baseline, or an array of them in which NaN stands for none, as scores."""
    if not hasattr(baseline, "shape"):
        return sign * baseline
    return np.where(np.isnan(baseline), none, sign * baseline)


_OWN_STOPS = Stops(EarlyStopping, stopping_rule, Patience(), _own_stop)
_TORCH = Plateaus(TorchReduceLROnPlateau, rules.torch_plateau_rule, Plateau(), _torch_plateau, _floor, asks=False)

LIBRARIES: Final[Mapping[LibraryName, Library]] = {
    "trainbus": Library(
        "trainbus",
        "trainbus",
        _OWN_STOPS,
        Plateaus(ReduceLROnPlateau, plateau_rule, Plateau(), _own_plateau, _floor, asks=True),
    ),
    "keras": Library(
        "keras",
        "Keras 3.15",
        Stops(KerasEarlyStopping, rules.keras_stopping_rule, rules.KerasPatience(), _keras_stop),
        Plateaus(
            ReduceLROnPlateau,
            rules.keras_plateau_rule,
            rules.KerasPlateau(),
            _own_plateau,
            _single_floor,
            asks=True,
        ),
    ),
    "torch": Library(
        "torch", "PyTorch 2.13", _OWN_STOPS, _TORCH, ("PyTorch has no EarlyStopping: stops are trainbus's own.",)
    ),
    "lightning": Library(
        "lightning",
        "Lightning 2.6",
        Stops(LightningEarlyStopping, rules.lightning_stopping_rule, rules.LightningPatience(), _lightning_stop),
        _TORCH,
        ("Lightning counts validations: its patience is right here where there is one an epoch.",),
    ),
    "ignite": Library(
        "ignite",
        "Ignite 0.5",
        Stops(IgniteEarlyStopping, rules.ignite_stopping_rule, rules.IgnitePatience(), _ignite_stop),
        _TORCH._replace(settings=IgniteReduceLROnPlateau, floor=_no_floor),
    ),
}
_RENAMED: Final = {"min_delta": "threshold"}
_IDLE: Final = frozenset({"verbose", "restore_best_weights"})
"""Options that change nothing in when a library stops."""


def library(name: str) -> Library:
    """The library of this name.

    Raises:
        SettingsError: there is none.

    >>> library("kears")
    Traceback (most recent call last):
        ...
    trainbus.errors.SettingsError: 'kears' is none of trainbus, keras, torch, lightning, ignite; did you mean 'keras'?
    """
    known: Sequence[LibraryName] = get_args(LibraryName)
    for each in known:
        if each == name:
            return LIBRARIES[each]
    raise SettingsError(f"{name!r} is none of {', '.join(known)}{hint(name, known, otherwise='')}")


def in_words_of(library: Library, callback: Callback) -> Callback:
    """A callback of trainbus with the options of this library; what is no option of it must not be set.

    Raises:
        SettingsError: an option is set that the library does not have.

    >>> in_words_of(LIBRARIES["torch"], ReduceLROnPlateau(patience=2, min_delta=0.1)).threshold
    0.1
    """
    kind = None
    if type(callback) is EarlyStopping:
        kind = library.stops.settings
    elif type(callback) is ReduceLROnPlateau:
        kind = library.plateaus.settings
    return callback if kind in (None, type(callback)) else made(kind, callback.model_dump(exclude_unset=True))


def made(kind: type[MonitoredCallback], options: Mapping[str, Any]) -> MonitoredCallback:
    """A callback of this kind, where `min_delta` may stand for what it calls `threshold`."""
    known = kind.model_fields
    renamed = {_RENAMED.get(name, name) if name not in known else name: value for name, value in options.items()}
    return kind(**{name: value for name, value in renamed.items() if name in known or name not in _IDLE})
