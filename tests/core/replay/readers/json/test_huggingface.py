"""The reader of Hugging Face's trainer states."""

import json
from pathlib import Path

from trainbus.replay import Recording, read
from trainbus.replay.objective import Objective

from ...recorded import shown


def test_the_last_checkpoint_of_a_trainer_is_its_run(tmp_path: Path):
    """The newest of Hugging Face's checkpoints contains the run, which has the name of its directory."""
    for number in (5, 10, 20):
        entries = [{"epoch": epoch + 1.0, "step": 5, "eval_loss": 1 / number} for epoch in range(number // 5)]
        folder = tmp_path / "bert" / f"checkpoint-{number}"
        folder.mkdir(parents=True)
        (folder / "trainer_state.json").write_text(json.dumps({"log_history": entries}))
    found = read(tmp_path)

    assert (found.name, found.epochs.tolist()) == ("bert", [0, 1, 2, 3])
    assert shown(found) == {"val_loss": [0.05] * 4}


def _state(place: Path, best: float | None, **evaluated: list[float]) -> Recording:
    entries = [
        {"epoch": epoch + 1.0, "step": 10 * epoch + 10, **{name: values[epoch] for name, values in evaluated.items()}}
        for epoch in range(3)
    ]
    state = {"best_metric": best, "log_history": entries, "train_batch_size": 8, "trial_params": {"lr": 0.1}}
    (place / "trainer_state.json").write_text(json.dumps(state))
    return read(place)


def test_the_best_metric_of_the_trainer_shows_its_name(tmp_path: Path):
    """The state has the best value of ``metric_for_best_model``, not its name: the metric that had it is judged by."""
    f1 = _state(tmp_path, 0.75, eval_loss=[0.5, 0.25, 0.3], eval_f1=[0.5, 0.7, 0.75], eval_runtime=[3.0, 0.75, 2.0])
    loss = _state(tmp_path, 0.25, eval_loss=[0.5, 0.25, 0.3], eval_f1=[0.5, 0.7, 0.75])

    assert f1.objective == Objective("val_f1", "max")
    assert loss.objective == Objective("val_loss", "min")
    assert loss.settings == {"train_batch_size": 8, "lr": 0.1}


def test_a_best_value_that_several_metrics_had_names_none(tmp_path: Path):
    """So does a value that is not there, as after a resumed training, and none at all."""
    assert _state(tmp_path, 0.5, eval_a=[0.5, 0.6, 0.7], eval_b=[0.1, 0.2, 0.5]).objective is None
    assert _state(tmp_path, 0.9, eval_a=[0.5, 0.6, 0.7]).objective is None
    assert _state(tmp_path, None, eval_a=[0.5, 0.6, 0.7]).objective is None
