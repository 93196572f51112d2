"""What of the trainer's logs is a metric."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainbus.adapters.transformers.logs import correct_mean, is_summary, metrics_in


@pytest.mark.parametrize(
    ("logs", "metrics", "summary"),
    [
        ({"loss": 1.0, "grad_norm": 2.0, "learning_rate": 0.1, "epoch": 1.0}, {"loss", "grad_norm"}, False),
        ({"eval_loss": 1.0, "eval_runtime": 2.0, "eval_steps_per_second": 3.0, "epoch": 1}, {"eval_loss"}, True),
        ({"eval_a_f1": 1.0, "eval_a_runtime": 2.0, "eval_a_model_preparation_time": 0.1}, {"eval_a_f1"}, True),
        ({"train_loss": 1.0, "train_runtime": 2.0, "total_flos": 0.0}, {"train_loss"}, True),
        ({"loss": 1.0, "num_input_tokens_seen": 7, "train_tokens_per_second": 3.0}, {"loss"}, False),
        ({"runtime": 1.0, "my_epoch": 2.0}, {"runtime", "my_epoch"}, False),
        ({}, set(), False),
    ],
)
def test_times_speeds_and_counters_are_no_metrics(logs: dict[str, Any], metrics: set[str], summary: bool) -> None:
    assert set(metrics_in(logs)) == metrics
    assert is_summary(logs) == summary


@given(
    losses=st.lists(st.floats(0, 10), min_size=1, max_size=20),
    begun=st.integers(1, 100),
    name=st.sampled_from(["loss", "train_loss"]),
)
def test_a_mean_over_all_steps_becomes_one_over_those_that_were_made(
    losses: list[float], begun: int, name: str
) -> None:
    """The trainer divides the sum by the number of steps, also of those before it began."""
    step = begun + len(losses)
    logs = {name: sum(losses) / step}

    assert correct_mean(logs, step, begun, first=True)
    assert logs[name] == pytest.approx(sum(losses) / len(losses))


@pytest.mark.parametrize(
    ("logs", "step", "first"), [({"loss": 1.0}, 9, False), ({"eval_loss": 1.0}, 9, True), ({"loss": 1.0}, 4, True)]
)
def test_other_means_are_right(logs: dict[str, float], step: int, first: bool) -> None:
    before = dict(logs)

    assert not correct_mean(logs, step, 4, first=first)
    assert logs == before
