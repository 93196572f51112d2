"""A booster of XGBoost as a subject."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from trainbus import CheckpointError, UnreadableCheckpoint
from trainbus.testing import check_subject

xgboost = pytest.importorskip("xgboost")
from tests.adapters.xgboost.trainings import KINDS, X, Y, data, params  # noqa: E402
from trainbus.adapters.xgboost import XGBoostSubject  # noqa: E402


@pytest.mark.parametrize("kind", KINDS)
def test_the_subject_keeps_the_contract(kind: str) -> None:
    """Files and snapshots restore each kind of model, which trains on as before."""
    held = data()[0]

    def step(subject: XGBoostSubject) -> list[float]:
        losses = []
        for number in range(2):
            subject.booster.update(held, number)
            losses.append(float(subject.booster.eval(held).rpartition(":")[2]))
        return losses

    check_subject(lambda: XGBoostSubject(xgboost.Booster(params(**KINDS[kind]), [held])), step)


DAMAGED: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda _: b"",
    "one byte": lambda _: b"{",
    "text": lambda _: b"no model",
    "a half": lambda data: data[: len(data) // 2],
    "without its end": lambda data: data[:-3],
    "other JSON": lambda _: b'{"a": 1}',
    "a list": lambda _: b"[]",
}


@pytest.mark.parametrize("damage", DAMAGED)
def test_a_damaged_file_is_refused_and_changes_nothing(damage: str) -> None:
    """An empty one too, of which XGBoost would end the process."""
    held = data()[0]
    subject = XGBoostSubject(xgboost.train(params(), held, 2))
    before = bytes(subject.booster.save_raw())
    Path("model.ubj").write_bytes(DAMAGED[damage](before))

    with pytest.raises(UnreadableCheckpoint, match=r"model\.ubj"):
        subject.load(Path("model.ubj"))

    assert bytes(subject.booster.save_raw()) == before


@pytest.mark.parametrize(
    ("other", "what"),
    [
        ({"objective": "reg:squarederror", "eval_metric": "rmse"}, "objective"),
        ({"objective": "multi:softprob", "num_class": 3, "eval_metric": "mlogloss"}, "objective"),
        ({"booster": "dart"}, "booster"),
        ({"booster": "gblinear", "max_depth": None}, "booster"),
    ],
)
def test_a_file_of_another_model_is_refused(other: dict[str, Any], what: str) -> None:
    held = data()[0]
    XGBoostSubject(xgboost.train(params(**other), held, 1)).save(Path("other.ubj"), weights_only=False)

    with pytest.raises(CheckpointError, match=f"other.ubj.*another model: .*{what}"):
        XGBoostSubject(xgboost.train(params(), held, 1)).load(Path("other.ubj"))


def test_a_file_of_a_model_of_other_data_is_refused() -> None:
    narrow = xgboost.DMatrix(X[:, :2], Y)
    XGBoostSubject(xgboost.train(params(), narrow, 1)).save(Path("narrow.json"), weights_only=False)

    with pytest.raises(CheckpointError, match="features 2 and not 4"):
        XGBoostSubject(xgboost.train(params(), data()[0], 1)).load(Path("narrow.json"))
