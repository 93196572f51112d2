"""Tests of the decisions that TensorBoard shows."""

from typing import Any

import pytest

from trainbus import Run, decision
from trainbus.plugins import EarlyStopping, ModelCheckpoint, ReduceLROnPlateau, TensorBoard
from trainbus.plugins.tensorboard.decision_table import SHOWN, DecisionTable
from trainbus.plugins.tensorboard.layouts import LAYOUTS
from trainbus.testing import LineSubject

from ..event_readers import read, scalars
from .runs import short


def test_decisions_have_curves_and_a_table():
    """In each epoch from its first on, each kind of decision shows its count; the last table lists all of them."""
    rates = ReduceLROnPlateau(monitor="loss", patience=1, factor=0.5)
    stopping = EarlyStopping(monitor="loss", patience=3, restore_best_weights=True)
    short(TensorBoard("logs"), rates, stopping, subject=LineSubject())
    assert min(tag for _, tag, _ in scalars()) == "epoch_learning_rate"  # on the page metrics come first
    marks = {key[1:]: value for key, value in scalars().items() if key[1].startswith("training_decisions/")}
    assert marks == {
        ("training_decisions/kept_in_memory", 0): 1.0,
        ("training_decisions/kept_in_memory", 1): 0.0,
        ("training_decisions/kept_in_memory", 2): 0.0,
        ("training_decisions/kept_in_memory", 3): 0.0,
        ("training_decisions/learning_rate_cut", 1): 1.0,
        ("training_decisions/learning_rate_cut", 2): 1.0,
        ("training_decisions/learning_rate_cut", 3): 1.0,
        ("training_decisions/stop", 3): 1.0,
        ("training_decisions/restored", 3): 1.0,
    }
    texts = [event.tensor_proto.string_val[0].decode() for event in read()["train"].Tensors("decisions")]
    lines = texts[-1].splitlines()
    assert lines[0] == "| epoch | decision | target | reason | plugin |"
    assert len(lines) == 2 + 6
    assert lines[-1].startswith("| 4 | restored | best loss |")
    assert sorted(line for text in texts[:-1] for line in text.splitlines()[2:]) == sorted(lines[2:])


def test_a_set_rate_is_shown_with_its_names():
    """A table that a checkpoint stores has text in each cell."""
    table = DecisionTable()
    named = decision.set_learning_rate({"learning_rate/0": 0.5, "learning_rate/1": 1e-5})
    lines = [table.add(1, each).splitlines()[-1] for each in (decision.set_learning_rate(0.25, reason="why"), named)]

    assert lines == [
        "| 1 | learning rate set | 0.25 | why |  |",
        "| 1 | learning rate set | learning\\_rate/0=0.5, learning\\_rate/1=1e-05 |  |  |",
    ]
    assert all(isinstance(row[2], str) for row in table.state_dict()["rows"])


@pytest.mark.parametrize("layout", sorted(LAYOUTS))
@pytest.mark.parametrize(("epochs", "batches"), [(0, 1), (0, 2), (2, 0), (2, 1)])
def test_decisions_in_an_epoch_that_never_ends_are_counted(epochs: int, batches: int, layout: Any):
    """Whenever a run is interrupted, every decision is counted, and no series and no text goes back."""
    saves = ModelCheckpoint("{step}.npz", save_freq=1)
    with pytest.raises(KeyboardInterrupt), Run(LineSubject(), [TensorBoard("logs", layout=layout), saves]) as run:
        for epoch in run.epochs(3):
            for batch in run.batches(range(3)):
                if (epoch, batch) == (epochs, batches):
                    raise KeyboardInterrupt
            run.log(loss=1.0)
    reader = read()[LAYOUTS[layout].main]
    tags = reader.Tags()
    (marker,) = [tag for tag in tags["scalars"] if tag.endswith("decisions/checkpoint")]
    assert sum(each.value for each in reader.Scalars(marker)) == 3 * epochs + batches
    for events in [*map(reader.Scalars, tags["scalars"]), *map(reader.Tensors, tags["tensors"])]:
        steps = [each.step for each in events]
        assert steps == sorted(steps)
    rows = reader.Tensors("decisions")[-1].tensor_proto.string_val[0].decode().splitlines()[2:]
    assert len(rows) == 3 * epochs + batches


@pytest.mark.parametrize("count", [1, SHOWN - 1, SHOWN, SHOWN + 1, 3 * SHOWN])
def test_the_table_of_all_decisions_and_its_state_are_bounded(count: int) -> None:
    """It has the last decisions, and says how many came before; a resumed run writes the same."""
    decisions = DecisionTable()
    for epoch in range(count):
        decisions.add(epoch, decision.save(f"m-{epoch}.pt"))
        resumed = DecisionTable()
        resumed.load_state_dict(decisions.state_dict())
        decisions = resumed if epoch % 7 == 0 else decisions

    lines = decisions.table().splitlines()
    earlier = max(count - SHOWN, 0)
    assert lines[0].startswith(f"{earlier} earlier decisions are shown at their own steps" if earlier else "| epoch |")
    assert (
        len([line for line in lines if "checkpoint" in line]) == count - earlier == len(decisions.state_dict()["rows"])
    )
    assert f"m-{count - 1}.pt" in lines[-1]
