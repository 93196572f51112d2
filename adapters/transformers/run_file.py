"""The state of a run in a checkpoint of the trainer: text in ``trainer_state.json``, and a file for snapshots."""

# The types of Transformers are partly unknown
# pyright: basic, reportMissingImports=false, reportAttributeAccessIssue=false

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from trainbus.errors import CheckpointError
from trainbus.failures import LOG

from ..torch.training_state import Snapshot

SNAPSHOTS = "trainbus_snapshots.pt"
"""The file of the snapshots, such as the best weights, in the directory of a checkpoint."""


def stored(state: Mapping[str, Any], directory: Path) -> str:
    """Return the state of a run as text; write its snapshots, if it has any, into the directory of the checkpoint.

    Args:
        state: What ``run.state_dict()`` returned.
        directory: The directory of the checkpoint.
    """
    snapshots: Mapping[str, Snapshot] = state["snapshots"]
    text = json.dumps({**state, "snapshots": {}})
    if not snapshots:
        (directory / SNAPSHOTS).unlink(missing_ok=True)  # of an earlier run
    elif directory.is_dir():
        kept = {slot: {"weights": dict(each.weights), "extra": dict(each.extra)} for slot, each in snapshots.items()}
        torch.save({"entry": text, "snapshots": kept}, directory / SNAPSHOTS)
    else:
        LOG.warning(
            "the best weights are not stored in the trainer's checkpoint: it is not in %r, where TrainingArguments "
            "output_dir says; they are lost if this run is resumed",
            str(directory),
        )
    return text


def read(text: str, directory: Path) -> dict[str, Any]:
    """Return the state of a run from its text and the file of its snapshots, if that is there.

    Args:
        text: The state in ``trainer_state.json``.
        directory: The directory of the checkpoint.

    Raises:
        CheckpointError: A part cannot be read.
    """
    path = directory / SNAPSHOTS
    try:
        state: dict[str, Any] = json.loads(text)
        if path.is_file():
            found = torch.load(path, map_location="cpu", weights_only=True)
            if found["entry"] == text:
                state["snapshots"] = {slot: Snapshot(**each) for slot, each in found["snapshots"].items()}
    except Exception as error:
        raise CheckpointError(
            f"{str(directory)!r} has a state of the run that cannot be read: {error}; resume from another checkpoint"
        ) from error
    return state
