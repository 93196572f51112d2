"""What names of metrics show about their roles."""

from __future__ import annotations

import pytest

from trainbus.replay.ranking.roles import Role


@pytest.mark.parametrize("name", ["val_loss", "valid/acc", "eval_wer", "test_loss", "DEV_F1", "Loss/validation"])
def test_words_for_held_out_data(name: str) -> None:
    """At the beginning, at the end and in capitals; "value" is none of them."""
    assert Role(name).held_out
    assert not Role("value_loss").held_out


@pytest.mark.parametrize("name", ["loss", "val_loss", "total_loss", "eval/avg_loss", "val_loss_epoch", "Valid Loss"])
def test_a_total_loss_tells_only_the_data_and_the_averaging(name: str) -> None:
    """A part of it tells what it is about."""
    assert Role(name).is_total_loss
    assert not Role(name.replace("oss", "oss_box")).is_total_loss


@pytest.mark.parametrize(
    "name",
    [
        "fps",
        "time/fps",
        "eval_runtime",
        "eval_samples_per_second",
        "it/s",
        "samples/s",
        "time",
        "eta_seconds",
        "step_time",
        "mfu",
        "train_wps",
    ],
)
def test_speeds_and_times(name: str) -> None:
    """Per second, in seconds, or by their own names."""
    assert Role(name).is_speed


@pytest.mark.parametrize("name", ["roi_head/num_bg_samples", "val_tp", "true_positives", "total_env_steps"])
def test_counters(name: str) -> None:
    """Numbers of things are no measure of quality."""
    assert Role(name).is_counter
    assert not Role("total_loss").is_counter
