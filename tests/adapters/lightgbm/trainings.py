"""Trainings by LightGBM, in the same words as those by XGBoost."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest

from trainbus import Run

lightgbm = pytest.importorskip("lightgbm")
from trainbus.adapters.lightgbm import LightGBMCallback as Binding  # noqa: E402

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(150, 4))
Y = (X.sum(1) + RANDOM.normal(size=150) > 0).astype(int)
PARAMS = {
    "objective": "binary",
    "learning_rate": 0.5,
    "num_leaves": 4,
    "min_data_in_leaf": 5,
    "num_threads": 1,
    "metric": ["auc", "binary_logloss"],
    "verbosity": -1,
}
ROUNDS = 12
KINDS: dict[str, dict[str, Any]] = {
    "trees": {},
    "squares": {"objective": "regression", "metric": "l2"},
    "distances": {"objective": "regression_l1", "metric": "l1"},
    "classes": {"objective": "multiclass", "num_class": 3, "metric": "multi_logloss"},
    "deep": {"num_leaves": 16, "eta": 0.3},
}
"""Kinds of models by what they add to the parameters."""
SAMPLING: list[tuple[dict[str, Any], str]] = [
    ({"bagging_fraction": 0.5, "bagging_freq": 1}, "bagging_freq=1"),
    ({"feature_fraction": 0.5}, "feature_fraction=0.5"),
    ({"subsample": 0.5, "subsample_freq": 2}, "bagging_freq=2"),
    ({"boosting": "dart"}, "boosting=dart"),
    ({"data_sample_strategy": "goss"}, "data_sample_strategy=goss"),
    ({"extra_trees": True}, "extra_trees=1"),
    ({"bagging_fraction": 0.5}, ""),
    ({}, ""),
]
"""What draws random numbers, and what is said about it."""
METRICS, LOSS, ERROR = "metric", "binary_logloss", "binary_error"
"""The parameter that names the metrics, and the names of two of them; both libraries have "auc"."""
RATE = "learning_rate"
SAVED = "best.txt"
ADVICE = (r"give lightgbm\.train valid_sets=", "write it into metric of the parameters, or monitor")


def params(**more: Any) -> dict[str, Any]:
    return {**PARAMS, **more}


SCHEDULE = lightgbm.reset_parameter(learning_rate=lambda round_: 0.5 / (round_ + 1))


def listed(callback: Binding) -> list[Any]:
    """Return what a user writes into the list of the library's callbacks."""
    return [*callback]


def train(
    callback: Binding | None,
    rounds: int = ROUNDS,
    more: Mapping[str, Any] | None = None,
    others: Any = (),
    *,
    names: tuple[str, ...] = ("first", "second"),
    model: Any = None,
    **options: Any,
) -> Any:
    """Train as users do; the training data are the first of two sets that are evaluated."""
    training = lightgbm.Dataset(X[:100], Y[:100])
    held_out = lightgbm.Dataset(X[100:], Y[100:], reference=training)
    sets = [training, held_out][-len(names) :] if names else None
    given = {"valid_sets": sets, "valid_names": list(names) or None, "init_model": model, **options}
    listed = [*(callback or ()), *others]
    return lightgbm.train(params(**(more or {})), training, rounds, callbacks=listed, **given)


def losses() -> list[float]:
    """Return the validation losses that the library records without a binding."""
    recorded: dict[str, Any] = {}
    train(None, others=[lightgbm.record_evaluation(recorded)])
    return list(recorded["second"][LOSS])


def each_round(function: Callable[[Any, int], None]) -> Any:
    """Return a callback of the library that calls a function with the model after each round."""

    def call(env: Any) -> None:
        function(env.model, env.iteration)

    call.order = 26  # type: ignore[attr-defined]
    return call


def cross_validate(callback: Binding) -> None:
    lightgbm.cv(params(), lightgbm.Dataset(X, Y), 2, callbacks=[*callback])


def train_on_nan(callback: Binding) -> None:
    def nothing(predicted: Any, held: Any) -> tuple[str, float, bool]:
        return "mine", float("nan"), False

    train(callback, 5, {"metric": "None"}, feval=nothing)


def resumed(callback: Binding, rounds: int = ROUNDS, more: Mapping[str, Any] | None = None) -> Any:
    """Train on by ``resume="auto"``."""
    return train(callback, rounds, more, model=callback.init_model)


def size(model: Any) -> int:
    return int(model.num_trees() // model.num_model_per_iteration())


def content(model: Any) -> Any:
    """Return what is equal for two models that predict the same."""
    return str(model.model_to_string(num_iteration=-1)).partition("\nfeature_importances")[0]


def packed(model: Any) -> bytes:
    return str(model.model_to_string(num_iteration=-1)).encode()


def unpacked(saved: bytes) -> Any:
    return lightgbm.Booster(model_str=saved.decode())


def read(path: str) -> Any:
    return lightgbm.Booster(model_file=path)


def run_of(callback: Binding, rounds: int = ROUNDS, more: Mapping[str, Any] | None = None) -> Run:
    train(callback, rounds, more)
    return callback.run
