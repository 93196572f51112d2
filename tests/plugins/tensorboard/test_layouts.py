"""Tests of the layouts."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.reliability.resuming import TRAININGS
from trainbus import Run
from trainbus.metrics.names import canonical, is_validated, without_validation
from trainbus.plugins import ReduceLROnPlateau, TensorBoard
from trainbus.plugins.tensorboard.layouts import LAYOUTS
from trainbus.testing import EventRecorder

from ..event_readers import read, scalars

NAMES = st.text(st.sampled_from("abval_/eptrinschkg"), min_size=1, max_size=12) | st.sampled_from(
    ["loss", "val_loss", "learning_rate", "learning_rate/body", "loss_step", "loss_epoch", "epoch", "val_val_loss"]
)


@given(st.lists(NAMES, min_size=1, unique_by=canonical), st.sampled_from(sorted(LAYOUTS)))
def test_no_two_series_share_a_run_and_tag(names: list[str], layout: Any):
    """For any metric names, each series has its own run and tag, the same in every run."""
    chosen = LAYOUTS[layout]
    places = [tuple(chosen.of_epoch(name)) for name in names]
    places += [(chosen.main, tag) for name in names if (tag := chosen.of_batch(name)) is not None]
    if chosen.iterations is not None:
        bare = {without_validation(name) for name in names if is_validated(name)}
        places += [(chosen.validation, chosen.iterations.format(name)) for name in bare]
    else:
        places.append((chosen.main, "epoch"))
    assert len(set(places)) == len(places)
    assert {run for run, _ in places} <= set(chosen.runs)


@pytest.mark.parametrize(
    "name",
    ["val_loss", "val/loss", "valid_loss", "validation/loss", "eval_loss", "evaluation/loss", "val-loss", "Val.loss"],
)
def test_every_spelling_of_a_validation_is_in_its_run_beside_the_training(name: str) -> None:
    """In each layout, with the tag of ``val_loss``; and no batch has one."""
    for layout in LAYOUTS.values():
        assert layout.of_epoch(name) == layout.of_epoch("val_loss")
        assert layout.of_batch(name) is None
        assert layout.charts(["loss", name]) == layout.charts(["loss", "val_loss"])


@pytest.mark.parametrize("name", ["validity", "value_loss", "loss", "evaluated", "valence/loss", "train/val_loss"])
def test_other_names_are_of_the_training(name: str) -> None:
    """However they begin."""
    assert LAYOUTS["keras"].of_epoch(name) == ("train", f"epoch_{name}")


def expected(layout: str, recorder: EventRecorder) -> dict[tuple[str, str, int], float]:
    """Return the run, tag and step of each value, computed independently."""
    found: dict[tuple[str, str, int], float] = {}
    for epoch, step, metrics in recorder.of("on_epoch_end", "epoch", "step", "metrics"):
        for name, value in metrics.items():
            bare, rate = name.removeprefix("val_"), name.startswith("learning_rate")
            if layout == "keras":
                found["validation" if bare != name else "train", f"epoch_{bare}", epoch] = value
            elif layout == "lightning":
                found[".", name if bare != name or rate else f"{name}_epoch", step] = value
            else:
                found[".", name if rate else f"{bare}/{'val' if bare != name else 'train'}", step] = value
        if layout != "keras":
            found[".", "epoch", step] = epoch
    for step, metrics in recorder.of("on_batch_end", "step", "metrics"):
        for name, value in metrics.items():
            tag = {"keras": f"batch_{name}", "lightning": f"{name}_step", "slash": f"{name}/batch"}[layout]
            if not name.startswith("val_"):
                found["train" if layout == "keras" else ".", tag, step] = value
    for step, metrics in recorder.of("on_validation_end", "step", "metrics") if layout == "keras" else ():
        for name, value in metrics.items():
            found["validation", f"evaluation_{name.removeprefix('val_')}_vs_iterations", step] = value
    return found


@pytest.mark.covering(1)
@pytest.mark.parametrize("layout", sorted(LAYOUTS))
@pytest.mark.parametrize("name", ["torch", "keras", "sgd"])
def test_every_value_of_a_training_has_the_run_tag_and_step_of_its_layout(name: str, layout: Any):
    """On every framework exactly the logged values are written, with steps that only increase."""
    recorder = EventRecorder("on_batch_end", "on_validation_end", "on_epoch_end")
    rates = ReduceLROnPlateau(monitor="val_score", mode="min", patience=2, factor=0.5)
    run = TRAININGS[name]([TensorBoard("logs", layout=layout, update_freq="batch"), rates, recorder], None)
    assert recorder.names.count("on_epoch_end") == run.result.epochs
    found = {key: value for key, value in scalars().items() if not key[1].startswith("training_decisions/")}
    assert found == {key: np.float32(value) for key, value in expected(layout, recorder).items()}
    for reader in read().values():
        for tag in reader.Tags()["scalars"]:
            steps = [event.step for event in reader.Scalars(tag)]
            assert steps == sorted(set(steps))


def test_without_batches_the_flat_layouts_count_epochs():
    """In a loop without batches each epoch is a step."""
    with Run(None, TensorBoard("logs", layout="slash")) as run:
        for epoch in run.epochs(4):
            run.log(loss=float(epoch))
    assert [scalars()[".", "loss/train", epoch] for epoch in range(4)] == [0.0, 1.0, 2.0, 3.0]
