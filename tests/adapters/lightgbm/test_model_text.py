"""Texts of models of LightGBM: whole ones are accepted, and no damaged one ends the process."""

from __future__ import annotations

import multiprocessing
from functools import cache
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

lightgbm = pytest.importorskip("lightgbm")

from trainbus.adapters.lightgbm.model_text import check_text  # noqa: E402

KINDS: dict[str, dict[str, Any]] = {
    "trees": {},
    "stumps": {"num_leaves": 2},
    "no split": {"min_data_in_leaf": 99},
    "classes": {"objective": "multiclass", "num_class": 3},
    "linear": {"linear_tree": True, "objective": "regression"},
    "categories": {"categorical_feature": [0], "min_data_per_group": 2, "cat_smooth": 1},
    "named": {"names": ["one", "zwei", "größer", "四"]},
    "forest": {"boosting": "rf", "bagging_freq": 1, "bagging_fraction": 0.5},
}


@cache
def text(kind: str) -> str:
    """Return the text of a small model."""
    random = np.random.default_rng(0)
    x = random.normal(size=(60, 4))
    x[:, 0] = random.integers(0, 5, 60)
    options = {"objective": "binary", "num_leaves": 5, "min_data_in_leaf": 3, "num_threads": 1, "verbosity": -1}
    options |= KINDS[kind]
    data = lightgbm.Dataset(
        x,
        (x.sum(1) > 2).astype(int),
        feature_name=options.pop("names", "auto"),
        categorical_feature=options.pop("categorical_feature", "auto"),
    )
    return str(lightgbm.train(options, data, 3).model_to_string())


@pytest.mark.parametrize("kind", KINDS)
def test_whole_texts_of_each_kind_are_accepted(kind: str) -> None:
    check_text(text(kind))
    check_text(lightgbm.Booster(model_str=text(kind)).model_to_string())


@given(st.data())
def test_no_part_of_a_text_is_accepted(data: st.DataObject) -> None:
    """Except for what follows the parameters."""
    whole = text("trees")
    end = data.draw(st.integers(0, whole.index("end of parameters")))
    with pytest.raises(ValueError, match=r".+"):
        check_text(whole[:end])


FIELDS = ["num_leaves", "split_feature", "threshold", "decision_type", "left_child", "right_child", "leaf_value"]


@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.parametrize("value", ["", "x", "99999999", "-7 -7 -7"])
def test_a_field_with_other_values_is_refused(field: str, value: str) -> None:
    start = text("trees").index(f"\n{field}=", text("trees").index("Tree=1")) + 1
    end = text("trees").index("\n", start)
    line = f"{field}={value}"
    damaged = text("trees")[:start] + line.ljust(end - start)[: end - start] + text("trees")[end:]
    with pytest.raises(ValueError, match=r"."):
        check_text(damaged)


def _load(damaged: str) -> None:
    try:
        check_text(damaged)
        lightgbm.Booster(model_str=damaged)
    except (ValueError, lightgbm.basic.LightGBMError):
        pass


@pytest.mark.exhaustive
@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.parametrize("value", ["", "-1", "1e400", "nan", "0"])
def test_no_damaged_field_ends_the_process(field: str, value: str) -> None:
    whole = text("trees")
    start = whole.index(f"{field}=")
    end = whole.index("\n", start)
    damaged = whole[:start] + f"{field}={value}".ljust(end - start)[: end - start] + whole[end:]
    child = multiprocessing.get_context("fork").Process(target=_load, args=(damaged,))
    child.start()
    child.join(60)

    assert child.exitcode == 0
