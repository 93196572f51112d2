"""What the bindings know of a boosting library; tests/adapters/test_boosting.py trains by real ones."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any

import pytest

from trainbus import SettingsError
from trainbus.adapters.shared.boosting_library import BoostingLibrary
from trainbus.metrics.missing_metric import MetricAdvice


def named(function: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(function)
    def call(*arguments: Any, **options: Any) -> Any:
        return function(*arguments, **options)

    return call


@named
def train(rounds: int, each_round: Callable[[], Any]) -> Any:
    assert rounds
    return each_round()


LIBRARY = BoostingLibrary(train, "TreesCallback", "*this TreesCallback", "first_model", MetricAdvice())


def test_the_variables_of_the_training_are_found_behind_its_decorators() -> None:
    def look() -> Mapping[str, Any]:
        return LIBRARY.train_call()

    assert train(7, look)["rounds"] == 7
    assert not look()


def test_its_names_are_those_of_the_training_and_of_the_binding() -> None:
    assert LIBRARY.module == __name__.partition(".")[0]
    assert LIBRARY.name == "Trees"
    assert LIBRARY.where == f"{LIBRARY.module}.train(..., callbacks=[*this TreesCallback])"


def test_models_of_a_cross_validation_are_refused() -> None:
    LIBRARY.check_model(3, int)
    with pytest.raises(SettingsError, match=r"\.cv trains a model for each fold.*each time with a new TreesCallback"):
        LIBRARY.check_model([3, 4], int)
