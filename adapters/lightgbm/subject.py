"""A booster of LightGBM as the subject of a run."""

# LightGBM declares some types only partly
# pyright: basic, reportMissingImports=false, reportAttributeAccessIssue=false

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal

from trainbus import MissingDependency
from trainbus.failures import LOG
from trainbus.resume.script.options import report_script_options
from trainbus.resume.script.rates import apply_script_rates
from trainbus.storage.atomic_file import reading, write_bytes

from ..shared.boosting_metrics import direction
from .model_text import check_text

try:
    import lightgbm
except ImportError as error:
    raise MissingDependency(f"{error}; pip install 'trainbus[lightgbm]'") from error

_RATE = "learning_rate"
RATE_NAMES = (_RATE, "shrinkage_rate", "eta")
"""The names that LightGBM has for the learning rate."""
_DEFAULT_RATE = 0.1
_NO_OPTIONS = (_RATE, "num_iterations", "num_threads", "verbosity", "metric", "data", "valid", "early_stopping_round")
"""Parameters that change no tree, and the learning rate."""
_DRAWS = {
    "bagging_freq": "0",
    "feature_fraction": "1",
    "feature_fraction_bynode": "1",
    "extra_trees": "0",
    "boosting": "gbdt",
    "data_sample_strategy": "bagging",
}
"""Parameters that let LightGBM draw random numbers, with the values for which it does not."""


class LightGBMSubject:
    """A booster of LightGBM.

    A file is what ``Booster.save_model`` writes.

    Args:
        booster: The booster; None if it is not known yet.
    """

    def __init__(self, booster: Any = None) -> None:
        self.booster = booster
        self.loaded: Any = None
        """The model that was loaded last."""
        self._saved: Mapping[str, float] = {}
        self._script_rate: float | None = None

    def suffixes(self, *, weights_only: bool) -> Sequence[str]:
        """Return .txt."""
        return (".txt",)

    def save(self, path: Path, *, weights_only: bool) -> object:
        """Write the model."""
        return self.snapshot_writer(weights_only=weights_only)(path)

    def snapshot_writer(self, *, weights_only: bool) -> Callable[[Path], object]:
        """Copy the model; return a function that writes it."""
        return partial(_write, self.snapshot())

    def load(self, path: Path) -> None:
        """Load the model.

        Raises:
            UnreadableCheckpoint: It cannot be read.
        """
        with reading(path, "is not a readable model of LightGBM"):
            text = path.read_text("utf-8")
            check_text(text)
            loaded = lightgbm.Booster(model_str=text)
        if self.booster is not None:
            self.restore(text)
        self.loaded = loaded

    def snapshot(self) -> str:
        """Return the model as text."""
        return str((self.loaded if self.booster is None else self.booster).model_to_string(num_iteration=-1))

    def restore(self, snapshot: str) -> None:
        """Load the model of a snapshot; LightGBM frees the data of the booster, which cannot be trained further."""
        if self.booster is None:
            self.loaded = lightgbm.Booster(model_str=snapshot)
        else:
            self.loaded = self.booster.model_from_string(snapshot).free_dataset()

    def learning_rates(self) -> Mapping[str, float]:
        """Return the learning rate of the next round; none before the booster is known."""
        return {} if self.booster is None else {_RATE: _rate_in(self.booster.params)}

    def set_learning_rates(self, rates: Mapping[str, float]) -> None:
        """Change the learning rate of the next round."""
        if _RATE in rates and self.booster is not None:
            rate = {_RATE: float(rates[_RATE])}
            if hasattr(self.booster, "train_set"):
                self.booster.reset_parameter(rate)
            else:  # LightGBM ends the process for a booster without data
                self.booster.params.update(rate)

    def run_state(self) -> Mapping[str, Any]:
        """Return the learning rate, which a training that continues a model takes from its parameters."""
        script = {} if self._script_rate is None else {"script": self._script_rate}
        return dict(self._saved) if self.booster is None else {**self.learning_rates(), **script}

    def load_run_state(self, state: Mapping[str, Any]) -> None:
        """Keep the learning rate for the first round.

        Raises:
            ValueError: It is no learning rate.
        """
        self._saved = {name: float(value) for name, value in state.items()}

    def adopt(self, booster: Any, source: str) -> None:
        """Train a booster, with the learning rate of the run that is resumed.

        Args:
            booster: The booster of the training that begins.
            source: Which rate to use if the script has changed it: a ``RateSource``.
        """
        self.booster, saved = booster, self._saved
        if self.loaded is not None:
            before = _options(self.loaded)
            report_script_options(self, before, before, _options(booster), LOG.warning)
        now = self.learning_rates()
        self._script_rate = now[_RATE]
        if saved.keys() >= {_RATE, "script"}:
            self.set_learning_rates({_RATE: saved[_RATE]})
            script = {_RATE: saved["script"]}
            self._script_rate = apply_script_rates(self, script, now, source, LOG.warning)[_RATE]

    def optimizer_options(self) -> Mapping[str, str]:
        """Return the parameters by which trees are grown."""
        return {} if self.booster is None else _options(self.booster)

    def direction_of(self, metric: str) -> Literal["min", "max"] | None:
        """Return the direction of a metric of LightGBM."""
        return direction(metric)

    def sampling(self) -> list[str]:
        """Return the parameters that draw random numbers, with their values."""
        options = _parameters(self.loaded if self.booster is None else self.booster)
        return [f"{name}={options[name]}" for name, value in _DRAWS.items() if options.get(name, value) != value]


def _parameters(booster: Any) -> dict[str, str]:
    """Return all parameters of a booster, as its files have them."""
    return dict(re.findall(r"^\[(\w+): (.*)\]$", booster.model_to_string(num_iteration=1), re.MULTILINE))


def _options(booster: Any) -> dict[str, str]:
    return {name: value for name, value in _parameters(booster).items() if name not in _NO_OPTIONS}


def _rate_in(params: Mapping[str, Any]) -> float:
    return float(next((params[name] for name in RATE_NAMES if name in params), _DEFAULT_RATE))


def _write(text: str, path: Path) -> str:
    return write_bytes(path, text.encode())
