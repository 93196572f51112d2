"""The patterns of well-known scripts."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainbus.replay.readers.text.known_patterns import KNOWN

ROWS = {
    "step 250: train loss 1.9, val loss 1.8": {"step": 250, "train_loss": 1.9, "val_loss": 1.8},
    "iter 10: loss 3.2412, time 18.97ms, mfu 19.65%": {"step": 10, "loss_batch": 3.2412},
    "s:0 tel:11.0095": {"step": 0, "val_loss": 11.0095},
    "s:20 trl:9.5 lr:0.0001": {"step": 20, "train_loss": 9.5, "lr": 0.0001},
    "s:250 eval:0.2485": {"step": 250, "val_acc": 0.2485},
    "0 val 10.8906": {"step": 0, "val_loss": 10.8906},
    "250 hella 0.2452": {"step": 250, "val_acc": 0.2452},
    "Epoch:1/80 | Train Loss: 4.0 | Val Loss: 3.2": {"epoch": 1, "Train_Loss": 4.0, "Val_Loss": 3.2},
    "Epoch [3/10], Loss: 0.5, Acc: 91.2%": {"epoch": 3, "Loss": 0.5, "Acc": 91.2},
    "epoch 12 - loss=0.5 - val_loss=0.25": {"epoch": 12, "loss": 0.5, "val_loss": 0.25},
    "Epoch: 001 | valid f1: .5": {"epoch": 1, "valid_f1": 0.5},
    "INFO Epoch 3 of 10 val/mAP@50 = 1e-2": {"epoch": 3, "val/mAP@50": 0.01},
    "Iteration 4,000 / 9,000 loss: 2.5": {"iteration": 4000, "loss": 2.5},
    "step:125/5100 val_loss:6.3 train_time:1ms step_avg:2ms": {"step": 125, "val_loss": 6.3},
    "[10]\tvalidation_0-logloss:1.25\tvalidation_1-auc:0.5": {
        "iteration": 10,
        "validation_0-logloss": 1.25,
        "validation_1-auc": 0.5,
    },
    "[20]\tvalid_1's binary_logloss: 0.5\tvalid_1's auc: 0.75 + 0.1": {
        "iteration": 20,
        "valid_1/binary_logloss": 0.5,
        "valid_1/auc": 0.75,
    },
    "[3/25][50/782]\tLoss_D: 1.25\tLoss_G: 0.5": {"epoch": 3, "Loss_D": 1.25, "Loss_G": 0.5},
    " [3/9] loss: 1.25": {"epoch": 3, "loss": 1.25},
    "{'eval_loss': 0.5, 'grad_norm': '1.25', 'epoch': 0.25}": {"epoch": 0.25, "eval_loss": 0.5, "grad_norm": 1.25},
    "  5%|# | {'loss': 0.5, 'step': 20}": {"step": 20, "loss": 0.5},
    "[2026-01-01 10:00:00,1][main][INFO] - Epoch 3: loss=0.5": {"epoch": 3, "loss": 0.5},
    "[rank0]:2026-01-01 step: 10  loss:  1.5  tps: 7,000": {"step": 10, "loss": 1.5, "tps": 7000},
    "Epoch 2: time: 0:00:12 | lr: 1e-03": {"epoch": 2, "lr": 0.001},
}


@pytest.mark.parametrize("line", ROWS)
def test_a_line_has_its_numbers(line: str) -> None:
    """The first of the patterns that finds some is the right one."""
    found = next(row for several in KNOWN for each in several for row in each.rows([line]))
    assert found == pytest.approx(ROWS[line])


@pytest.mark.parametrize(
    "line",
    ["The epochs of 3 runs", "loss: 0.5", "step by step: 3", "In epoch 3 we saw nothing", "0 val", "s:0", "epoch: x",
     "2026-01-01 12:00:00 INFO start", "Downloading 100%|####| 3/3 [00:01<00:00, 2.5it/s]"],
)  # fmt: skip
def test_other_lines_have_none(line: str) -> None:
    """They have no axis, or no metric."""
    assert [row for several in KNOWN for each in several for row in each.rows([line])] == []


def test_metrics_may_come_in_the_lines_after_their_epoch() -> None:
    """As Keras prints them."""
    lines = ["Epoch 1/2", "8/8 - 1s - loss: 0.5", "Epoch 2/2", "8/8 - 1s - loss: 0.4"]
    found = next(rows for several in KNOWN if (rows := [row for each in several for row in each.rows(lines)]))
    assert found == [{"epoch": 1.0, "loss": 0.5}, {"epoch": 2.0, "loss": 0.4}]


@given(st.text(alphabet="epochstli:=/ 0123456789.,[]-", max_size=10_000))
def test_no_line_takes_long(line: str) -> None:
    """The time is proportional to the length, whatever the line is."""
    for several in KNOWN:
        for each in several:
            assert isinstance([*each.rows([line])], list)
