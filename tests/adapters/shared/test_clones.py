"""Resumes are refused where scikit-learn trains several clones, by whatever binding and in whatever search."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import BaggingClassifier
from sklearn.feature_selection import SequentialFeatureSelector
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from trainbus import SettingsError
from trainbus.adapters.shared.clones import check_resume
from trainbus.plugins import ModelCheckpoint

X = np.random.default_rng(0).normal(size=(60, 3)).astype("float32")
Y = (X.sum(1) > 0).astype("int64")


class Resumes(ClassifierMixin, BaseEstimator):
    """An estimator with a callback that resumes."""

    def __init__(self, resume: Any = "auto", size: int = 1) -> None:
        self.resume, self.size = resume, size

    def fit(self, x: Any, y: Any, **_: Any) -> Resumes:
        check_resume("MyCallback", self.resume)
        self.classes_ = np.unique(y)
        return self

    def predict_proba(self, x: Any) -> Any:
        return np.full((len(x), 2), 0.5)

    def predict(self, x: Any) -> Any:
        return np.zeros(len(x), int)


CLONES: dict[str, Callable[[Any], object]] = {
    "model_selection": lambda model: GridSearchCV(model, {}, cv=2, error_score="raise").fit(X, Y),
    "model_selection, scores": lambda model: cross_val_score(model, X, Y, cv=2, error_score="raise"),
    "ensemble": lambda model: BaggingClassifier(model, 2).fit(X, Y),
    "multiclass": lambda model: OneVsRestClassifier(model).fit(X, Y),
    "calibration": lambda model: CalibratedClassifierCV(model, cv=2).fit(X, Y),
    "feature_selection": lambda model: SequentialFeatureSelector(model, cv=2).fit(X, Y),
}


@pytest.mark.parametrize("how", CLONES)
@pytest.mark.parametrize("resume", ["auto", Path("best.pt")])
def test_a_resume_in_one_of_several_fits_is_refused(how: str, resume: object) -> None:
    with pytest.raises(
        ValueError, match=r"of MyCallback: sklearn.\w+ trains several clones.*{run}/best"
    ):  # some wrap it
        CLONES[how](Resumes(resume))


@pytest.mark.parametrize("how", ["model_selection", "ensemble"])
def test_without_a_resume_nothing_is_refused(how: str) -> None:
    CLONES[how](Resumes(None))


@pytest.mark.parametrize("model", [Resumes(), clone(Resumes()), make_pipeline(StandardScaler(), Resumes())])
def test_one_estimator_may_resume(model: Any) -> None:
    model.fit(X, Y)


def _xgboost() -> Any:
    xgboost = pytest.importorskip("xgboost")
    from trainbus.adapters.xgboost import XGBoostCallback  # noqa: PLC0415

    callback = XGBoostCallback([ModelCheckpoint("m")], resume="auto", verbose=0)
    return xgboost.XGBClassifier(n_estimators=2, n_jobs=1, callbacks=[callback]), {}


def _lightgbm() -> Any:
    lightgbm = pytest.importorskip("lightgbm")
    from trainbus.adapters.lightgbm import LightGBMCallback  # noqa: PLC0415

    callback = LightGBMCallback([ModelCheckpoint("m")], resume="auto", verbose=0)
    return lightgbm.LGBMClassifier(n_estimators=2, n_jobs=1, verbose=-1), {"callbacks": [*callback]}


def _skorch() -> Any:
    skorch = pytest.importorskip("skorch")
    import torch  # noqa: PLC0415

    from trainbus.adapters.skorch import SkorchCallback  # noqa: PLC0415

    bus = SkorchCallback([ModelCheckpoint("m")], resume="auto", verbose=0)
    return skorch.NeuralNetClassifier(
        torch.nn.Linear, module__in_features=3, module__out_features=2, callbacks=[bus]
    ), {}


def _keras() -> Any:
    keras = pytest.importorskip("keras")
    from trainbus.adapters.keras import KerasCallback  # noqa: PLC0415

    def model(X: Any, y: Any) -> Any:  # noqa: N803
        made = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2, "softmax")])
        made.compile("sgd", "categorical_crossentropy")
        return made

    return keras.wrappers.SKLearnClassifier(model), {"callbacks": [KerasCallback([], resume="auto", verbose=0)]}


@pytest.mark.parametrize("make", [_xgboost, _lightgbm, _skorch, _keras])
def test_every_binding_that_scikit_learn_can_train_refuses_it(make: Callable[[], Any]) -> None:
    model, of_fit = make()
    search = GridSearchCV(model, {}, cv=2, error_score="raise", scoring="accuracy")
    with pytest.raises(SettingsError, match=r"resume='auto' of \w+Callback: sklearn.model_selection trains several"):
        search.fit(X, Y, **of_fit)
