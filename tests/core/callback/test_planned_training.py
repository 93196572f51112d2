"""What is planned is named with its number, in the singular or the plural."""

import pytest

from trainbus.callback.planned_training import PlannedTraining


@pytest.mark.parametrize(
    ("epochs", "count", "what", "words"),
    [
        (range(3), None, "", "3 epochs are planned"),
        (range(1), None, "", "1 epoch is planned"),
        (range(4, 2000), None, "", "2,000 epochs are planned"),
        (range(3), 30, "step", "30 steps are planned"),
        (range(3), 1, "step", "1 step is planned"),
        (range(3), 30, "batch", "30 batches are planned"),
        (range(3), 1, "batch", "1 batch is planned"),
        (range(3), 0, "batch", "0 batches are planned"),
    ],
)
def test_what_is_planned_is_named(epochs: range, count: int | None, what: str, words: str) -> None:
    assert PlannedTraining(epochs).in_words(count, what) == words
