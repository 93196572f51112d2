"""Trainings by XGBoost, in the same words as those by LightGBM."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest

from trainbus import Run

xgboost = pytest.importorskip("xgboost")
from trainbus.adapters.xgboost import XGBoostCallback as Binding  # noqa: E402

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(90, 4)).astype("float32")
Y = (X.sum(1) + RANDOM.normal(size=90) > 0).astype(int)
PARAMS = {
    "objective": "binary:logistic",
    "eta": 0.5,
    "max_depth": 3,
    "nthread": 1,
    "eval_metric": ["auc", "logloss"],
    "verbosity": 0,
}
ROUNDS = 12
KINDS: dict[str, dict[str, Any]] = {
    "trees": {},
    "dart": {"booster": "dart"},
    "linear": {"booster": "gblinear", "updater": "coord_descent", "max_depth": None},
    "squares": {"objective": "reg:squarederror", "eval_metric": ["rmse"]},
    "classes": {"objective": "multi:softprob", "num_class": 3, "eval_metric": ["mlogloss"]},
    "forest": {"num_parallel_tree": 2},
}
"""Kinds of models by what they add to the parameters."""
SAMPLING: list[tuple[dict[str, Any], str]] = [
    ({"subsample": 0.5}, "subsample=0.5"),
    ({"colsample_bytree": 0.5}, "colsample_bytree=0.5"),
    ({"booster": "dart", "rate_drop": 0.25}, "rate_drop=0.25"),
    ({"colsample_bynode": 0.75}, "colsample_bynode=0.75"),
    ({}, ""),
]
"""What draws random numbers, and what is said about it."""
METRICS, LOSS, ERROR = "eval_metric", "logloss", "error"
"""The parameter that names the metrics, and the names of two of them; both libraries have "auc"."""
RATE = "eta"
SAVED = "best.ubj"
ADVICE = (r"give xgboost\.train evals=", "write it into eval_metric of the parameters, or monitor")


def params(**more: Any) -> dict[str, Any]:
    return {name: value for name, value in {**PARAMS, **more}.items() if value is not None}


SCHEDULE = xgboost.callback.LearningRateScheduler(lambda round_: 0.5 / (round_ + 1))


def listed(callback: Binding) -> list[Any]:
    """Return what a user writes into the list of the library's callbacks."""
    return [callback]


def data() -> tuple[Any, Any]:
    return xgboost.DMatrix(X[:60], Y[:60]), xgboost.DMatrix(X[60:], Y[60:])


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
    training, held_out = data()
    sets = list(zip([training, held_out][-len(names) :] if names else [], names, strict=True))
    listed = [*([] if callback is None else [callback]), *others]
    given = {"evals": sets, "verbose_eval": False, "xgb_model": model, **options}
    return xgboost.train(params(**(more or {})), training, rounds, callbacks=listed, **given)


def losses() -> list[float]:
    """Return the validation losses that the library records without a binding."""
    recorded: dict[str, Any] = {}
    train(None, evals_result=recorded)
    return list(recorded["second"][LOSS])


def each_round(function: Callable[[Any, int], None]) -> Any:
    """Return a callback of the library that calls a function with the model after each round."""

    class Calls(xgboost.callback.TrainingCallback):  # type: ignore[misc, name-defined]
        def after_iteration(self, model: Any, epoch: int, evals_log: Any) -> bool:
            function(model, epoch)
            return False

    return Calls()


def cross_validate(callback: Binding) -> None:
    xgboost.cv(params(), data()[0], 2, callbacks=[callback])


def train_on_nan(callback: Binding) -> None:
    def nothing(predicted: Any, held: Any) -> tuple[str, float]:
        return "mine", float("nan")

    more = {"eval_metric": "logloss", "disable_default_eval_metric": 1}
    train(callback, 5, more, custom_metric=nothing)


def resumed(callback: Binding, rounds: int = ROUNDS, more: Mapping[str, Any] | None = None) -> Any:
    """Train on by ``resume="auto"``."""
    return train(callback, rounds, more)


def size(model: Any) -> int:
    return int(model.num_boosted_rounds())


def content(model: Any) -> Any:
    """Return what is equal for two models that predict the same."""
    return size(model), model.predict(data()[1]).tolist()


def packed(model: Any) -> bytes:
    return bytes(model.save_raw("ubj"))


def unpacked(saved: bytes) -> Any:
    return xgboost.Booster(model_file=bytearray(saved))


def read(path: str) -> Any:
    return xgboost.Booster(model_file=path)


def run_of(callback: Binding, rounds: int = ROUNDS, more: Mapping[str, Any] | None = None) -> Run:
    train(callback, rounds, more)
    return callback.run
