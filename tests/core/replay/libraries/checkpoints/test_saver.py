"""What the savers of all libraries have in common."""

from __future__ import annotations

import pytest

from trainbus.replay.libraries.checkpoints.saver import Comparison, Moment
from trainbus.replay.libraries.settings import LIBRARIES


@pytest.mark.parametrize("name", [name for name, each in LIBRARIES.items() if each.checkpoints is not None])
def test_a_saver_removes_only_what_it_has_written(name: str) -> None:
    """It says so file by file, and its best file is one that exists."""
    spec = LIBRARIES[name].checkpoints
    assert spec is not None
    options = spec.translated({"monitor": "val_loss", "save_best_only": True})
    saver = spec.saver(spec.settings(**options), Comparison(-1))
    files = set[str]()
    for epoch, value in enumerate([3.0, 2.0, None, 2.5, 1.0]):
        for change in saver.save(Moment(epoch, epoch + 1, {}, value)):
            assert (change.path in files) or not change.removed
            (files.discard if change.removed else files.add)(change.path)

    assert saver.best in files
