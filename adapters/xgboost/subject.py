"""A booster of XGBoost as the subject of a run."""

# XGBoost declares some types only partly
# pyright: basic, reportMissingImports=false, reportAttributeAccessIssue=false

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np

from trainbus import CheckpointError, MissingDependency
from trainbus.storage.atomic_file import reading, write_bytes

from ..shared.boosting_metrics import direction

try:
    import xgboost
except ImportError as error:
    raise MissingDependency(f"{error}; pip install 'trainbus[xgboost]'") from error

_RATE = "learning_rate"
_RATE_IN_CONFIG = re.compile(rf'"{_RATE}":"([^"]+)"')
_NO_OPTIONS = (_RATE, "eta", "alpha", "lambda", "min_split_loss", "name", "updater_seq", "debug_synchronize")
"""The learning rate, second names of options, and what changes no model."""
_SAMPLING = ("subsample", "colsample_bytree", "colsample_bylevel", "colsample_bynode")


class XGBoostSubject:
    """A booster of XGBoost.

    A file is what ``Booster.save_model`` writes, with the learning rate in the booster's attribute of this name, since
    XGBoost saves no options. Loading a model keeps the options that the booster has.

    Args:
        booster: The booster; None if it is not known yet.
    """

    def __init__(self, booster: Any = None) -> None:
        self._booster = booster
        self._rate: float | None = None
        self._lent = True
        """Whether other code has the booster and may change its learning rate."""

    @property
    def booster(self) -> Any:
        """The booster."""
        self._lent = True
        return self._booster

    def adopt(self, booster: Any) -> None:
        """Train a booster, whose learning rate only this subject changes until ``booster`` or ``adopt`` is used."""
        self._booster, self._rate, self._lent = booster, None, False

    def suffixes(self, *, weights_only: bool) -> Sequence[str]:
        """Return .ubj and .json."""
        return (".ubj", ".json")

    def save(self, path: Path, *, weights_only: bool) -> object:
        """Write the model."""
        return self.snapshot_writer(weights_only=weights_only)(path)

    def snapshot_writer(self, *, weights_only: bool) -> Callable[[Path], object]:
        """Copy the model; return a function that writes it."""
        self._note_rate()
        return partial(_write, bytes(self._booster.save_raw("ubj")))

    def load(self, path: Path) -> None:
        """Load the model and its learning rate; the booster keeps its other options.

        Raises:
            UnreadableCheckpoint: It cannot be read.
            CheckpointError: It is another kind of model.
        """
        with reading(path, "is not a readable model of XGBoost"):
            data = path.read_bytes()
            loaded = _read(data)
            found, rate = _kind(loaded), loaded.attr(_RATE)
        expected = _kind(self._booster)
        wrong = [name for name, value in expected.items() if found[name] != value and "0" not in (found[name], value)]
        if wrong:
            are = ", ".join(f"{name} {found[name]} and not {expected[name]}" for name in wrong)
            raise CheckpointError(f"{str(path)!r} holds another model: {are}")
        self.restore(data)
        if rate is not None:
            self.set_learning_rates({_RATE: float(rate)})

    def snapshot(self) -> bytes:
        """Return the model as bytes."""
        return bytes(self._booster.save_raw("ubj"))

    def restore(self, snapshot: bytes) -> None:
        """Load the model of a snapshot; the booster keeps its options, which XGBoost would reset."""
        options = json.loads(self._booster.save_config())
        self._booster.load_model(bytearray(snapshot))
        loaded = json.loads(self._booster.save_config())
        options["learner"]["learner_model_param"] = loaded["learner"]["learner_model_param"]
        _copy_model_size(loaded["learner"]["gradient_booster"], options["learner"]["gradient_booster"])
        self._booster.load_config(json.dumps(options))
        self._rate = None
        self._note_rate()

    def learning_rates(self) -> Mapping[str, float]:
        """Return the learning rate of the next round."""
        if self._booster is not None and (self._rate is None or self._lent):  # reading takes as long as a small round
            found = _RATE_IN_CONFIG.search(self._booster.save_config())
            self._rate = None if found is None else float(np.float32(found[1]))
        return {} if self._rate is None else {_RATE: self._rate}

    def set_learning_rates(self, rates: Mapping[str, float]) -> None:
        """Change the learning rate of the next round; files of the model hold it from now on."""
        if _RATE in rates:
            self._booster.set_param(_RATE, repr(float(rates[_RATE])))
            self._rate = None
            self._note_rate()

    def rounded_learning_rates(self, rates: Mapping[str, float]) -> Mapping[str, float]:
        """Return the rates in single precision, in which XGBoost stores them."""
        return {name: float(np.float32(rate)) for name, rate in rates.items()}

    def continue_rate(self) -> None:
        """Use the learning rate that is stored in a model which XGBoost has loaded."""
        rate = self._booster.attr(_RATE)
        if rate is not None:
            self.set_learning_rates({_RATE: float(rate)})

    def direction_of(self, metric: str) -> Literal["min", "max"] | None:
        """Return the direction of a metric of XGBoost."""
        return direction(metric)

    def draws_progress(self) -> Literal["lines"]:
        """Return "lines": XGBoost prints the metrics of each round."""
        return "lines"

    def sampling(self) -> list[str]:
        """Return the options that draw random numbers, with their values."""
        options = json.loads(self._booster.save_config())
        drawn = [f"{name}={value}" for name in _SAMPLING if (value := _find(options, name)) not in (None, "1")]
        rate = _find(options, "rate_drop")
        return [*drawn, *([] if rate in (None, "0") else [f"rate_drop={rate}"])]

    def optimizer_options(self) -> Mapping[str, Any]:
        """Return the options of the trees and of the objective, which files of XGBoost do not hold."""
        learner = json.loads(self._booster.save_config())["learner"] if self._booster is not None else {}
        found = _texts([learner.get(part) for part in ("gradient_booster", "objective")])
        return {name: value for name, value in found.items() if name not in _NO_OPTIONS}

    def _note_rate(self) -> None:
        for rate in self.learning_rates().values():
            self._booster.set_attr(**{_RATE: repr(rate)})


def _write(data: bytes, path: Path) -> str:
    return write_bytes(path, bytes(_read(data).save_raw("json")) if path.suffix == ".json" else data)


def _read(data: bytes) -> Any:
    if len(data) < 2:  # XGBoost ends the process
        raise ValueError("it is empty")
    return xgboost.Booster(model_file=bytearray(data))


def _kind(booster: Any) -> dict[str, str]:
    """Return what two models have in common of which one continues the other."""
    learner = json.loads(booster.save_config())["learner"]
    size = learner["learner_model_param"]
    return {
        "booster": learner["gradient_booster"]["name"],
        "objective": learner["objective"]["name"],
        "features": size["num_feature"],
        "classes": size["num_class"],
    }


def _find(options: Any, name: str) -> Any:
    """Return the value of an option, wherever it is in XGBoost's configuration; None without it."""
    if isinstance(options, Mapping):
        found = (_find(each, name) for each in options.values())
        return options.get(name) or next((each for each in found if each is not None), None)
    return None


def _texts(options: Any) -> dict[str, str]:
    """Return the options that are text, wherever they are in a part of XGBoost's configuration."""
    found: dict[str, str] = {}
    named = options.items() if isinstance(options, Mapping) else (("", each) for each in options)
    for name, value in named:
        if isinstance(value, str):
            found[name] = value
        elif isinstance(value, (Mapping, list)) and not name.endswith("_model_param"):
            found |= _texts(value)
    return found


def _copy_model_size(source: Any, target: Any) -> None:
    """Copy the numbers of trees from one configuration into another."""
    for name, value in source.items():
        if name.endswith("_model_param"):
            target[name] = value
        elif isinstance(value, Mapping) and isinstance(target.get(name), dict):
            _copy_model_size(value, target[name])
