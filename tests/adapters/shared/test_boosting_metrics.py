"""The names of what a boosting library computes on its data sets."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainbus import SettingsError
from trainbus.adapters.shared.boosting_metrics import FALLING, RISING, BoostingMetrics, direction

NAMES = st.text("abc", min_size=1, max_size=3)


def chosen(
    computed: dict[str, list[str]], training: tuple[str, ...] = (), data: str | None = None, metric: str | None = None
) -> BoostingMetrics:
    metrics = BoostingMetrics(data, metric)
    metrics.choose(computed, training)
    return metrics


@given(st.dictionaries(NAMES, st.just(["rmse"]), min_size=1, max_size=5), st.data())
def test_the_validation_data_are_the_last_that_are_not_the_training_data(
    computed: dict[str, list[str]], data: st.DataObject
) -> None:
    training = data.draw(st.sets(st.sampled_from(list(computed))))
    metrics = chosen(computed, tuple(training))
    named = metrics.named({name: {"rmse": float(number)} for number, name in enumerate(computed)})
    held_out = [name for name in computed if name not in training]

    assert metrics.validates is bool(held_out)
    if held_out:
        assert named["val_rmse"] == named["val_loss"] == list(computed).index(held_out[-1])
    else:
        assert "val_rmse" not in named


@given(st.dictionaries(NAMES, st.just(["rmse"]), min_size=1, max_size=5), st.data())
def test_the_data_that_are_named_are_the_validation_data(computed: dict[str, list[str]], data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(list(computed)))
    named = chosen(computed, data=name).named({each: {"rmse": float(each == name)} for each in computed})

    assert named["val_rmse"] == named["val_loss"] == 1.0


@pytest.mark.parametrize("name", ["train", "training", "Train", "TRAINING", "learn", "dtrain"])
def test_usual_names_of_the_training_data_are_known(name: str) -> None:
    named = chosen({"other": ["rmse"], name: ["rmse"]}).named({"other": {"rmse": 1.0}, name: {"rmse": 2.0}})

    assert named == {"val_rmse": 1.0, "val_loss": 1.0, "rmse": 2.0, "loss": 2.0}


@pytest.mark.parametrize("metric", [*RISING, "ndcg@5", "map@3-", "accuracy", "my_metric"])
def test_a_metric_whose_higher_values_are_better_or_unknown_is_no_loss(metric: str) -> None:
    assert "val_loss" not in chosen({"v": [metric]}).named({"v": {metric: 1.0}})


@pytest.mark.parametrize("metric", [*FALLING, "logloss", "error@0.7", "tweedie-nloglik@1.5", "mape", "my_error"])
def test_the_last_metric_is_the_loss_if_lower_is_better(metric: str) -> None:
    assert chosen({"v": ["auc", metric]}).named({"v": {"auc": 0.0, metric: 1.0}})["val_loss"] == 1.0


def test_no_name_has_both_directions() -> None:
    assert not set(RISING) & set(FALLING)
    assert all(direction(f"val_{name}@2") == "max" for name in RISING)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"data": "vall"}, "data='vall' is not evaluated; did you mean 'val'. sets: train, val"),
        ({"data": "banana"}, "data='banana' is not evaluated. sets: train, val"),
        ({"metric": "logloss"}, "metric='logloss' is not computed. metrics: auc, error"),
        ({"metric": "eror"}, "metric='eror' is not computed; did you mean 'error'"),
        ({"metric": "auc"}, "metric='auc' would be the loss, but higher is better; write monitor='val_auc'"),
    ],
)
def test_wrong_names_are_refused(options: dict[str, str], message: str) -> None:
    with pytest.raises(SettingsError, match=message.replace("?", r"\?")):
        chosen({"train": ["auc", "error"], "val": ["auc", "error"]}, **options)  # type: ignore[arg-type]


def test_without_any_data_nothing_is_chosen() -> None:
    metrics = chosen({})

    assert not metrics.validates
    assert metrics.named({}) == {}
