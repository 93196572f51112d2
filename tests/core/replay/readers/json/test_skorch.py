"""The reader of histories, on one that skorch wrote."""

import json
from pathlib import Path

from trainbus.replay import read

from ...samples import FORMATS, MEASURED, logged


def test_epochs_are_read_without_their_batches():
    """What skorch marks as best, and how many batches there were, are no metrics; the seconds give the times."""
    found, measured = read(FORMATS / "skorch"), MEASURED["skorch"]

    assert (found.format, found.unit, found.epochs.tolist()) == ("skorch history", "epoch", list(range(6)))
    assert set(found.metrics) == {"loss", "val_loss", "val_acc"}
    assert logged(found, "loss") == measured["train_loss"]
    assert logged(found, "val_loss") == measured["valid_loss"]
    assert logged(found, "val_acc") == measured["valid_acc"]
    assert found.duration is not None
    assert found.duration > 0


def test_a_history_without_validation(tmp_path: Path):
    rows = [{"batches": [], "epoch": epoch, "train_loss": 1 / epoch} for epoch in (1, 2)]
    (tmp_path / "history.json").write_text(json.dumps(rows))
    found = read(tmp_path)

    assert {name: logged(found, name) for name in found.metrics} == {"loss": [1.0, 0.5]}
    assert found.duration is None
