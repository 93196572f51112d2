"""Tests of TensorBoard's options."""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from trainbus import SettingsError, callbacks_from
from trainbus.plugins import TensorBoard


@pytest.mark.parametrize(
    "wrong",
    [
        {"update_freq": True},
        {"update_freq": 0},
        {"update_freq": "batches"},
        {"update_freq": 1.5},
        {"histogram_freq": -1},
        {"batch_size": 0},
        {"log_dir": ""},
        {"log_dir": 5},
        {"log_dri": "logs"},
        {"layout": "tree"},
        {"profile": "15:10"},
        {"profile": 10},
        {"purge": True},
        {"max_images": 0},
        {"hparams": {"layers": [1, 2]}},
        {"hparams": {"clip": float("inf")}},
        {"hparams": {"seed": 10**400}},
        {"hparams": {"layers": np.ones(1)}},
        {"embeddings_metadata": 3},
        {"embeddings_metadata": {"words": 3}},
    ],
)
def test_wrong_settings_are_rejected_in_one_line(wrong: dict[str, Any]):
    """A wrong option is named, in one line."""
    with pytest.raises(SettingsError, match=f"^TensorBoard: {next(iter(wrong))}[^\n]*$"):
        TensorBoard(**wrong)


def test_settings_are_values():
    """Defaults are the documented ones, paths become text, NumPy's numbers Python's; JSON restores them."""
    assert TensorBoard() == TensorBoard(
        log_dir="./logs", histogram_freq=0, batch_size=32, write_graph=True, write_images=True, update_freq="epoch"
    )
    labels = {"words": Path("c")}
    hparams = {"lr": np.float32(0.5), "depth": np.int64(3), "wide": np.True_, "decay": torch.tensor(0.25)}
    callback = TensorBoard(Path("a") / "b", update_freq=5, embeddings_metadata=labels, hparams=hparams)
    assert callback.log_dir == os.path.join("a", "b")  # noqa: PTH118
    assert callback.embeddings_metadata == {"words": "c"}
    assert repr(callback.hparams) == repr({"lr": 0.5, "depth": 3, "wide": True, "decay": 0.25})
    assert callbacks_from([json.loads(json.dumps(callback.settings()))]) == [callback]
