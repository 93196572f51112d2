"""Labels that say where a row is."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainbus.replay.readers.axis_label import find_axis


@pytest.mark.parametrize(
    ("label", "unit"),
    [("epoch", "epoch"), ("Epoch", "epoch"), ("# epoch", "epoch"), ("Epoch #", "epoch"), (" epochs", "epoch"),
     ("step", "step"), ("Step", "step"), ("global_step", "step"), ("Global Step", "step"), ("_step", "step"),
     ("trainer/global_step", "step"), ("iter", "iteration"), ("Iteration", "iteration"),
     ("time/total_timesteps", "timestep"), ("total_timesteps", "timestep"), ("frames", "timestep"),
     ("training_iteration", "iteration"), ("current_steps", "step"), ("num_updates", "step")],
)  # fmt: skip
def test_a_label_of_an_axis_is_found(label: str, unit: str) -> None:
    """In capitals, with spaces and a number sign."""
    found = find_axis(["val_loss", label])
    assert (found.epoch, found.counters) == ((label, ()) if unit == "epoch" else (None, ((label, unit),)))
    assert found.all == {label}


@pytest.mark.parametrize("label", ["loss", "epoch_loss", "steps_per_second", "train/epoch_time", "", "n_steps"])
def test_other_labels_are_none(label: str) -> None:
    """A metric may have such a word in its name."""
    assert find_axis([label]).all == set()


def test_of_several_the_most_telling_comes_first() -> None:
    """A run that counts timesteps may also have the iterations of its algorithm."""
    found = find_axis(["step", "iter", "timesteps", "epoch", "loss"])
    assert found.epoch == "epoch"
    assert [unit for _, unit in found.counters] == ["timestep", "iteration", "step"]


@given(st.lists(st.text()))
def test_any_labels_are_searched(labels: list[str]) -> None:
    """What is found is among them."""
    assert find_axis(labels).all <= set(labels)
