"""An object of a framework that owns its loop is no subject, and the message has the line to write instead."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

import trainbus
from trainbus import MissingDependency, Run, SettingsError
from trainbus.adapters.torch import TorchSubject
from trainbus.settings.registry import installed

X = np.ones((20, 2))


def lightning_trainer() -> Any:
    pl = pytest.importorskip("lightning.pytorch")
    return pl.Trainer(logger=False, enable_progress_bar=False, enable_checkpointing=False, accelerator="cpu")


def huggingface_trainer() -> Any:
    library = pytest.importorskip("transformers")
    return library.Trainer(torch.nn.Linear(2, 1), library.TrainingArguments("out", use_cpu=True, report_to=[]))


def ignite_engine() -> Any:
    return pytest.importorskip("ignite.engine").Engine(lambda engine, batch: 0)


def skorch_net() -> Any:
    return pytest.importorskip("skorch").NeuralNetRegressor(torch.nn.Linear)


def xgboost_booster() -> Any:
    library = pytest.importorskip("xgboost")
    return library.train({}, library.DMatrix(X, X[:, 0]), 1)


def lightgbm_booster() -> Any:
    library = pytest.importorskip("lightgbm")
    return library.train({"verbosity": -1}, library.Dataset(X, X[:, 0]), 1)


def optuna_trial() -> Any:
    return pytest.importorskip("optuna").create_study().ask()


@pytest.mark.parametrize(
    ("make", "line"),
    [
        (lightning_trainer, r"Trainer\(\.\.\., callbacks=\[LightningCallback\(callbacks\)\]\), with LightningCallback"),
        (huggingface_trainer, r"Trainer\(\.\.\., callbacks=\[TransformersCallback\(callbacks\)\]\), with Transformers"),
        (ignite_engine, r"attach\(trainer, TorchSubject\(model, optimizer\), callbacks, evaluator\), with attach from"),
        (skorch_net, r"NeuralNet\(\.\.\., callbacks=\[SkorchCallback\(callbacks\)\]\), with SkorchCallback from"),
        (
            xgboost_booster,
            r"xgboost\.train\(\.\.\., callbacks=\[XGBoostCallback\(callbacks\)\]\), with",
        ),
        (lambda: pytest.importorskip("xgboost").XGBRegressor(), r"callbacks=\[XGBoostCallback\(callbacks\)\]"),
        (lightgbm_booster, r"lightgbm\.train\(\.\.\., callbacks=\[\*LightGBMCallback\(callbacks\)\]\), with LightGBM"),
        (lambda: pytest.importorskip("lightgbm").LGBMRegressor(), r"callbacks=\[\*LightGBMCallback\(callbacks\)\]"),
        (optuna_trial, r"Run\(subject, \[\*callbacks, PruningCallback\(trial\)\]\), with PruningCallback from"),
    ],
)
@pytest.mark.parametrize("give", [trainbus.watch, Run])
def test_the_line_of_the_binding_is_named(make: Callable[[], Any], line: str, give: Callable[[Any], Any]) -> None:
    with pytest.raises(SettingsError, match=rf"^an? \w+ is not a subject; write .*{line}"):
        give(make())


def test_a_module_of_such_a_framework_is_trained_by_a_loop_of_ones_own() -> None:
    library = pytest.importorskip("lightning.pytorch")

    assert isinstance(trainbus.watch(library.LightningModule()).subject, TorchSubject)


@pytest.mark.parametrize("parameters", [{"objective": "binary:logistic"}, {"num_leaves": 7}])
def test_for_parameters_the_bindings_are_listed(parameters: dict[str, Any]) -> None:
    with pytest.raises(SettingsError, match=r"use its binding \(there are bindings for .*lightgbm, .*xgboost\)"):
        trainbus.watch(parameters)


def test_each_binding_has_its_line() -> None:
    for name, point in installed("bindings").items():
        try:
            module = importlib.import_module(point.module)
        except MissingDependency:
            continue
        assert name == "keras" or point.attr in module.USAGE
