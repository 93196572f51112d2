"""Weights in files of safetensors."""

from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch import nn

from tests.adapters.torch.trainings import same
from trainbus import CheckpointError, Run, SettingsError
from trainbus.adapters.torch import TorchSubject
from trainbus.plugins import ModelCheckpoint


def tied() -> nn.Module:
    model = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Linear(4, 4), nn.Conv2d(2, 2, 2))
    model[2].weight = model[0].weight
    return model.to(memory_format=torch.channels_last)


@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16], ids=str)
def test_safetensors_hold_the_weights(kind: torch.dtype, tmp_path: Path) -> None:
    """Tied weights once, channels last, in a file that the library reads and another model loads."""
    model, path = tied().to(kind), tmp_path / "w.safetensors"
    model.register_buffer("nothing", torch.empty(0, 3))
    TorchSubject(model).save(path, weights_only=True)
    other = tied().to(kind)
    other.register_buffer("nothing", torch.empty(0, 3))
    TorchSubject(other).load(path)

    assert same(dict(other.state_dict()), dict(model.state_dict()))
    third = tied().to(kind)
    third.register_buffer("nothing", torch.empty(0, 3))
    safetensors.torch.load_model(third, path)
    assert torch.equal(third[2].weight, model[0].weight)
    with safetensors.safe_open(path, "pt") as file:
        assert "2.weight" not in file.keys()  # noqa: SIM118
        assert file.metadata()["2.weight"] == "0.weight"


def test_safetensors_refuse_what_they_cannot_hold(tmp_path: Path) -> None:
    class Extra(nn.Linear):
        def get_extra_state(self) -> object:
            return {"a": 1}

        def set_extra_state(self, state: object) -> None:
            pass

    with pytest.raises(
        CheckpointError, match=r"'_extra_state' is a dict, which safetensors cannot hold; save to a .pt"
    ):
        TorchSubject(Extra(1, 1)).save(tmp_path / "w.safetensors", weights_only=True)
    (tmp_path / "w.safetensors").write_bytes(b"no safetensors")
    with pytest.raises(CheckpointError, match="cannot be read"):
        TorchSubject(nn.Linear(1, 1)).load(tmp_path / "w.safetensors")
    with pytest.raises(
        SettingsError, match=r"write .pt, .pth, .pkl, .pickle, .dcp, or, with save_weights_only=True, .safetensors"
    ):
        Run(TorchSubject(nn.Linear(1, 1)), ModelCheckpoint("w.safetensors")).__enter__()
