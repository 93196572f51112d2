"""A rule steps arrays of runs and settings as it steps each alone."""

from math import inf, nan
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainbus.rules import (
    Best,
    Patience,
    Plateau,
    best_rule,
    breaks_tie,
    early_stopping_rule,
    held_back,
    improves,
    plateau_rule,
    stopping_rule,
    threshold_rule,
    torch_plateau_rule,
)

from .drawn import deltas, histories, scores


@pytest.mark.parametrize("rule", ["stopping", "plateau", "best"])
@given(st.lists(histories, min_size=1, max_size=5), st.data())
def test_arrays_step_as_scalars_do(rule: str, runs: list[list[float]], data) -> None:
    """Stepping many runs and settings at once gives the same as stepping each alone."""
    length = max(map(len, runs))
    table = np.array([run + [nan] * (length - len(run)) for run in runs])
    count = len(runs)
    patience = np.array(data.draw(st.lists(st.integers(0, 4), min_size=count, max_size=count)))
    delta = np.array(data.draw(st.lists(deltas, min_size=count, max_size=count)))

    def step(state, score, epoch: int, patience, delta):
        if rule == "stopping":
            return stopping_rule(state, score, epoch, patience=patience, min_delta=delta, start_from_epoch=1)
        if rule == "plateau":
            return plateau_rule(state, score, patience=patience, min_delta=delta, cooldown=2)
        return best_rule(state, score, epoch)

    start = {"stopping": Patience(), "plateau": Plateau(), "best": Best()}[rule]
    together, apart = start, [start] * count
    for epoch in range(length):
        together, verdicts = step(together, table[:, epoch], epoch, patience, delta)
        for i in range(count):
            apart[i], verdict = step(apart[i], float(table[i, epoch]), epoch, int(patience[i]), float(delta[i]))
            for field, value in enumerate(apart[i]):
                assert np.broadcast_to(together[field], count)[i] == value
            for part, one in zip(_parts(verdicts), _parts(verdict), strict=True):
                assert np.broadcast_to(part, count)[i] == one


def _parts(verdict) -> tuple:
    return verdict if isinstance(verdict, tuple) else (verdict,)


def drawn(data: Any, each: st.SearchStrategy[Any], count: int) -> np.ndarray:
    return np.array(data.draw(st.lists(each, min_size=count, max_size=count)))


SETTINGS: dict[str, st.SearchStrategy[Any]] = {
    "patience": st.integers(0, 3),
    "relative_delta": st.sampled_from([0.0, 0.1, 0.5]),
    "creeping": st.booleans(),
    "ties": st.booleans(),
}
ONLY: dict[Any, dict[str, st.SearchStrategy[Any]]] = {
    early_stopping_rule: {
        "baseline": st.sampled_from([-inf, 0.0]),
        "stopping_threshold": st.sampled_from([inf, 1.0]),
        "divergence_threshold": st.sampled_from([-inf, -1.0]),
        "check_finite": st.booleans(),
        "min_epochs": st.integers(0, 4),
        "start_from_epoch": st.integers(0, 3),
    },
    plateau_rule: {"cooldown": st.integers(0, 3), "reducible": st.booleans()},
    torch_plateau_rule: {"cooldown": st.integers(0, 3), "reducible": st.booleans()},
}


@pytest.mark.parametrize("rule", list(ONLY))
@given(st.data(), st.integers(1, 4), st.integers(1, 12))
def test_every_setting_may_be_an_array(rule: Any, data: Any, count: int, length: int) -> None:
    """Of many runs at once, each with its own settings, scores and second scores."""
    settings = {name: drawn(data, each, count) for name, each in {**SETTINGS, **ONLY[rule]}.items()}
    table, seconds = (drawn(data, st.lists(scores, min_size=length, max_size=length), count) for _ in range(2))
    settings["min_delta"] = np.where(settings["relative_delta"] > 0, 0.0, drawn(data, deltas, count))
    together: Any = Patience() if rule is early_stopping_rule else Plateau()
    apart = [together] * count
    for epoch in range(length):
        at = (epoch,) if rule is early_stopping_rule else ()
        together, verdicts = rule(together, table[:, epoch], *at, second=seconds[:, epoch], **settings)
        for i in range(count):
            own = {name: each[i].item() for name, each in settings.items()}
            apart[i], verdict = rule(apart[i], table[i, epoch].item(), *at, second=seconds[i, epoch].item(), **own)
            for part, one in zip((*together, *verdicts), (*apart[i], *verdict), strict=True):
                np.testing.assert_equal(np.broadcast_to(part, count)[i].item(), one)


@given(st.lists(st.tuples(scores, scores, scores, scores, st.booleans()), min_size=1, max_size=20))
def test_the_parts_step_arrays_too(cases: list[tuple[float, float, float, float, bool]]) -> None:
    """What counts as better, ties, thresholds, and what holds a stop back."""
    score, reference, good, bad, ties = (np.array(each) for each in zip(*cases, strict=True))
    together = [
        improves(score, reference, 0.0, 0.1, ties),
        breaks_tie(score, reference, ties),
        threshold_rule(score, stopping_threshold=good, divergence_threshold=bad, check_finite=ties).stop,
    ]
    for i, (one, other, high, low, tie) in enumerate(cases):
        alone = [
            improves(one, other, 0.0, 0.1, tie),
            breaks_tie(one, other, tie),
            threshold_rule(one, stopping_threshold=high, divergence_threshold=low, check_finite=tie).stop,
        ]
        assert [bool(each[i]) for each in together] == alone
    epochs = np.arange(5)
    assert held_back(epochs, epochs, min_epochs=2, min_steps=3).tolist() == [
        held_back(each, each, min_epochs=2, min_steps=3) for each in range(5)
    ]
