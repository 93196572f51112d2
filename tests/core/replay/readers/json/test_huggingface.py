"""The reader of Hugging Face's trainer states."""

import json
from pathlib import Path

from trainbus.replay import read

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
