"""When the trainer evaluates, and what the run knows of it."""

from __future__ import annotations

from typing import Any

import pytest
import transformers

from trainbus.adapters.transformers.evaluations import evaluated_epochs, is_due_after

from .trainers import trainer


class Noting(transformers.TrainerCallback):
    """Notes when the trainer evaluates."""

    def __init__(self) -> None:
        self.steps: list[int] = []
        self.epochs: list[float] = []

    def on_evaluate(self, args: Any, state: Any, control: Any, **parts: Any) -> None:
        self.steps.append(state.global_step)
        self.epochs.append(state.epoch)


WAYS = [
    ({"eval_strategy": "steps", "eval_steps": 3}),
    ({"eval_strategy": "steps", "eval_steps": 3, "eval_delay": 4}),
    ({"eval_strategy": "steps", "eval_steps": 5, "max_steps": 7}),
    ({"eval_strategy": "steps", "eval_steps": 0.4}),
    ({"eval_strategy": "epoch"}),
    ({"eval_strategy": "epoch", "eval_delay": 2}),
    ({"eval_strategy": "epoch", "eval_delay": 1.5}),
    ({"eval_strategy": "no"}),
]


@pytest.mark.parametrize(
    "way", [pytest.param(each, marks=pytest.mark.exhaustive if n % 5 else ()) for n, each in enumerate(WAYS)], ids=str
)
def test_evaluations_are_expected_where_the_trainer_makes_them(way: dict[str, Any]) -> None:
    noting = Noting()
    training = trainer([noting], num_train_epochs=3, **way)
    training.train()
    steps = range(1, training.state.max_steps + 1)
    epochs = evaluated_epochs(training.args)

    if way["eval_strategy"] == "steps":
        assert epochs is None
        assert noting.steps == [each for each in steps if is_due_after(each, training.args, training.state)]
    else:
        assert epochs is not None
        assert noting.epochs == [each for each in (1, 2, 3) if each in epochs]
        assert not any(is_due_after(each, training.args, training.state) for each in steps)
