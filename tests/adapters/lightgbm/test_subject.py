"""A booster of LightGBM as a subject."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from trainbus import UnreadableCheckpoint
from trainbus.testing import check_subject

lightgbm = pytest.importorskip("lightgbm")
from tests.adapters.lightgbm.trainings import KINDS, X, Y, params  # noqa: E402
from trainbus.adapters.lightgbm import LightGBMSubject  # noqa: E402


@pytest.mark.parametrize("kind", KINDS)
def test_the_subject_keeps_the_contract(kind: str) -> None:
    """Files and snapshots restore each kind of model, which trains on as before."""
    options = {**params(**KINDS[kind])}

    def data() -> Any:
        return lightgbm.Dataset(X[:100], Y[:100], free_raw_data=False)

    def step(subject: LightGBMSubject) -> list[float]:
        losses: dict[str, Any] = {}
        recorded, held = lightgbm.record_evaluation(losses), data()
        rates = dict(subject.learning_rates())
        given = {**options, **rates}
        subject.booster = lightgbm.train(
            given, held, 2, valid_sets=[held], init_model=subject.booster, callbacks=[recorded]
        )
        subject.booster.params.update(rates)
        return list(losses["training"].popitem()[1])

    check_subject(lambda: LightGBMSubject(lightgbm.train(options, data(), 1)), step)


DAMAGED: dict[str, Callable[[str], str]] = {
    "empty": lambda _: "",
    "text": lambda _: "no model",
    "a half": lambda text: text[: len(text) // 2],
    "a third": lambda text: text[: len(text) // 3],
    "without its end": lambda text: text[:-300],
    "without parameters": lambda text: text[: text.index("end of trees") + 12],
    "without a field": lambda text: text.replace("leaf_value=", "leaf_valu =", 1),
    "other leaves": lambda text: text.replace("num_leaves=4", "num_leaves=9", 1),
    "other child": lambda text: text.replace("left_child=1", "left_child=9", 1),
    "no number": lambda text: text.replace("threshold=0.", "threshold=x.", 1).replace("threshold=-", "threshold=x", 1),
}


@pytest.mark.parametrize("damage", DAMAGED)
def test_a_damaged_file_is_refused_and_changes_nothing(damage: str) -> None:
    """LightGBM would end the process for some of them."""
    subject = LightGBMSubject(lightgbm.train(params(), lightgbm.Dataset(X, Y), 3))
    before = subject.snapshot()
    damaged = DAMAGED[damage](before)
    assert damaged != before
    Path("model.txt").write_text(damaged)

    with pytest.raises(UnreadableCheckpoint, match=r"model\.txt"):
        subject.load(Path("model.txt"))

    assert subject.snapshot() == before
