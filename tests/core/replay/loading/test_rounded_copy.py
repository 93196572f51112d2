"""A file that has another one's numbers with fewer digits tells the same run; a similar run is another one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from trainbus.replay import Recording, read_all
from trainbus.replay.loading.rounded_copy import Printed

from ..recorded import by_steps, recording

Numbers = NDArray[np.float64]
FORMS: dict[str, Callable[[float], str]] = {
    "%.3f": lambda value: f"{value:.3f}",
    "%.4f": lambda value: f"{value:.4f}",
    "%.5g": lambda value: f"{value:.5g}",
    "%.3e": lambda value: f"{value:.3e}",
    "float32": lambda value: repr(float(np.float32(value))),
}


def curve(seed: int, length: int = 30) -> Numbers:
    """Return a falling curve with noise."""
    random = np.random.default_rng(seed)
    return np.asarray(2 * np.exp(-np.arange(length) / 9) + 0.3 + 0.02 * random.normal(size=length), np.float64)


def run(values: Numbers, form: str | None = None, **others: Numbers) -> Recording:
    """Return a run with these losses, printed in this form."""
    shown = FORMS[form] if form else repr
    metrics = {"val_loss": values, **others}
    return recording({name: [float(shown(float(each))) for each in given] for name, given in metrics.items()})


def same(one: Recording, other: Recording) -> bool:
    """Return the answer, which is the same from both sides."""
    found = Printed(one).tells_the_run_of(Printed(other))
    assert found is Printed(other).tells_the_run_of(Printed(one))
    return found


@given(seed=st.integers(0, 999), form=st.sampled_from([*FORMS]), other=st.sampled_from([None, *FORMS]))
def test_fewer_digits_are_the_same_run(seed: int, form: str, other: str | None) -> None:
    """Whatever the form of both files."""
    assert same(run(curve(seed), form), run(curve(seed), other))
    assert same(run(curve(seed)[:20], form), run(curve(seed), other))


@given(seed=st.integers(0, 999), form=st.sampled_from([*FORMS]), scale=st.sampled_from([1.01, 1.1, -1.0]))
def test_another_curve_is_another_run(seed: int, form: str, scale: float) -> None:
    """Another seed, one that differs a little, the same numbers later or with one other metric."""
    mine = run(curve(seed), form)
    assert not same(mine, run(curve(seed + 1)))
    assert not same(mine, run(scale * curve(seed)))
    assert not same(run(curve(seed)[:-1], form), run(curve(seed)[1:]))
    assert not same(mine, by_steps(run(curve(seed))))
    assert not same(run(curve(seed), form, acc=curve(1)), run(curve(seed), acc=curve(2)))


@pytest.mark.parametrize("values", [np.repeat([0.91, 0.92, 0.93], 10), np.zeros(30), np.arange(30) / 100])
def test_few_digits_prove_nothing(values: Numbers) -> None:
    """Two runs may have the same accuracies in percent."""
    assert not same(run(values), run(values + 0.001))
    assert not same(run(values), run(values))


@pytest.mark.parametrize(
    ("places", "count"),
    [(("log.csv", "out.log"), 1), (("a/log.csv", "a/checkpoint-30/out.log"), 1), (("a/log.csv", "a/logs/out.log"), 1),
     (("runs/b/log.csv", "checkpoint-7/out.log"), 1), (("a/log.csv", "b/out.log"), 2)],
)  # fmt: skip
def test_the_printed_log_of_a_run_is_not_another_one(places: tuple[str, str], count: int, tmp_path: Path) -> None:
    """If it lies beside the run, above or below, or in one of its checkpoints."""
    values = curve(0)
    table = ["epoch,val_loss", *(f"{epoch},{value}" for epoch, value in enumerate(values, 1))]
    printed = [f"Epoch {epoch}/30 - val_loss: {value:.4f}" for epoch, value in enumerate(values, 1)]
    for place, lines in zip(places, (table, printed), strict=True):
        (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / place).write_text("\n".join([*lines, ""]))
    assert len(read_all(tmp_path)) == count
