"""Names with numbers in a line."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainbus.replay.readers.metric_names import is_held_out
from trainbus.replay.readers.text.named_numbers import ANY, NamedNumbers, tells_more

LINES = {
    "loss: 0.5, time: 3 s, Acc: 91.2%": {"loss": 0.5, "time": 3, "Acc": 91.2},
    "loss 0.5 | val_loss 0.25 | 3 runs of 4.5": {"loss": 0.5, "val_loss": 0.25},
    "Loss 1.5e+00 (1.25e+00)\tAcc@1  60.1 ( 61.5)": {"Loss": 1.25, "Acc@1": 61.5},
    "error 404, accuracy 3": {},
    "we saw 2.5 of it": {},
    "| valid | loss 4.5 | ppl 20.5": {"valid/loss": 4.5, "valid/ppl": 20.5},
    "[Val] loss: 0.5 lr: 0.1": {"Val/loss": 0.5, "lr": 0.1},
    "valid loss 1.25 acc 0.5": {"valid_loss": 1.25, "valid/acc": 0.5},
    "Test set: Average loss: 0.5, Accuracy: 90/100 (90%)": {"Test/Average_loss": 0.5},
    "[train] loss=0.5, acc=0.75, [valid] loss=0.25, acc=0.5": {
        "loss": 0.5,
        "acc": 0.75,
        "valid/loss": 0.25,
        "valid/acc": 0.5,
    },
    "train loss: 0.5 acc: 0.75 val loss: 0.25 acc: 0.5": {
        "train_loss": 0.5,
        "acc": 0.75,
        "val_loss": 0.25,
        "val/acc": 0.5,
    },
    "loss 1.5 val 1.25": {"loss": 1.5, "val": 1.25},
    "eval.py loss 0.5 in data/test/a": {"loss": 0.5},
}


@pytest.mark.parametrize("line", LINES)
def test_a_line_has_names_with_numbers_and_their_data(line: str) -> None:
    """A word alone tells the data of the names after it; a name alone only where it would come twice."""
    assert NamedNumbers(ANY).of(line) == pytest.approx(LINES[line])


@given(st.text())
def test_any_line_is_searched(line: str) -> None:
    """No text raises."""
    assert isinstance(NamedNumbers(ANY).of(line, data="val"), dict)
    assert isinstance(tells_more(line, []), bool)
    assert isinstance(is_held_out(line), bool)


@given(st.text(alphabet="val testloss:=/ 0123456789.,()e-", max_size=10_000))
def test_no_line_takes_long(line: str) -> None:
    """The time is proportional to the length, whatever the line is."""
    assert isinstance(NamedNumbers(ANY).of(line), dict)
