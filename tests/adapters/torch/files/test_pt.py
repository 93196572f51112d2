"""Files of PyTorch that trainbus lays down piece by piece are those that PyTorch would have written."""

import io
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from trainbus import CheckpointError, Run, SettingsError
from trainbus.adapters.torch import TorchSubject
from trainbus.adapters.torch.files.pt import write
from trainbus.plugins import ModelCheckpoint

TYPES = [torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.complex64, torch.bool, torch.uint8]
TYPES += [torch.int8, torch.int16, torch.int32, torch.int64, torch.uint16, torch.uint64, torch.float8_e4m3fn]


@st.composite
def tensors(draw: st.DrawFn) -> torch.Tensor:
    """Of any type, order and part of a larger tensor."""
    kind = draw(st.sampled_from(TYPES))
    shape = draw(st.lists(st.integers(0, 4), max_size=3))
    numbers = torch.randint(0, 2, [size + 1 for size in shape]).to(kind)
    part = numbers[tuple(slice(draw(st.integers(0, 1)), None) for _ in shape)]
    return part.T if part.ndim == 2 and draw(st.booleans()) else part


def states() -> st.SearchStrategy[Any]:
    plain = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(), tensors())
    return st.recursive(
        plain,
        lambda inner: st.one_of(
            st.lists(inner, max_size=4),
            st.dictionaries(st.text(), inner, max_size=4),
            st.dictionaries(st.integers(), inner, max_size=3).map(OrderedDict),
        ),
        max_leaves=12,
    )


def same(one: Any, other: Any) -> bool:
    if isinstance(one, torch.Tensor):
        alike = (one.dtype, one.shape, one.stride()) == (other.dtype, other.shape, other.stride())
        bits = one.contiguous().flatten().view(torch.uint8), other.contiguous().flatten().view(torch.uint8)
        return alike and bool(torch.equal(*bits))
    if isinstance(one, dict):
        return type(one) is type(other) and list(one) == list(other) and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other) and type(one) is type(other)


@given(state=states())
def test_a_file_is_read_as_that_of_torch_save(state: Any, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("file") / "a.pt"
    write(state, path)
    torchs = io.BytesIO()
    torch.save(state, torchs)
    torchs.seek(0)

    for found in (torch.load(path, weights_only=True), torch.load(path, weights_only=True, mmap=True)):
        assert same(found, state)
    assert same(torch.load(torchs, weights_only=True), state)
    with zipfile.ZipFile(path) as file, zipfile.ZipFile(torchs) as other:
        assert file.testzip() is None
        data = [name.split("/", 1)[1] for name in file.namelist() if "/data/" in name]
        assert data == [name.split("/", 1)[1] for name in other.namelist() if "/data/" in name]


def test_what_shares_memory_is_written_once_and_shares_it_again(tmp_path: Path) -> None:
    whole = torch.arange(1000.0)
    write({"whole": whole, "part": whole[10:20], "again": whole}, tmp_path / "a.pt")
    found = torch.load(tmp_path / "a.pt", weights_only=True)
    found["whole"][10] = -1

    assert found["part"][0] == -1
    assert found["again"][10] == -1
    assert (tmp_path / "a.pt").stat().st_size < 2 * whole.nbytes


# --- safetensors


def tied() -> nn.Module:
    model = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Linear(4, 4), nn.Conv2d(2, 2, 2))
    model[2].weight = model[0].weight
    return model.to(memory_format=torch.channels_last)


@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16], ids=str)
def test_safetensors_hold_the_weights(kind: torch.dtype, tmp_path: Path) -> None:
    """Tied ones once, channels last, in a file that the library reads, and that brings another model to the same."""
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
    with pytest.raises(SettingsError, match=r"writes .pt, .pth, .dcp, or, with save_weights_only=True, .safetensors"):
        Run(TorchSubject(nn.Linear(1, 1)), ModelCheckpoint("w.safetensors")).__enter__()


# --- a copy that is written later


@given(kind=st.sampled_from(TYPES), weights_only=st.booleans())
def test_a_detached_state_is_that_of_its_moment(
    kind: torch.dtype, weights_only: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Whatever is trained meanwhile; also where memory of an earlier copy is used again."""
    model = nn.Linear(3, 2)
    model.register_buffer("numbers", torch.zeros(2, 3, dtype=kind))
    optimizer = torch.optim.Adam(model.parameters())
    subject, folder = TorchSubject(model, optimizer), tmp_path_factory.mktemp("detached")

    for moment in range(3):
        model.numbers = torch.full((2, 3), moment).to(kind)
        model(torch.ones(1, 3)).sum().backward()
        optimizer.step()
        subject.save(folder / "now.pt", weights_only=weights_only)
        detached = subject.snapshot_writer(weights_only=weights_only)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.fill_(moment + 100)
            model.numbers.fill_(1)
        detached(folder / "later.pt")
        one, other = (torch.load(folder / name, weights_only=True) for name in ("now.pt", "later.pt"))
        for state in (one, other):
            state.pop("random", None)
        assert str(one) == str(other)


def test_a_detached_state_uses_the_same_memory_again() -> None:
    subject = TorchSubject(nn.Linear(100, 100))
    places = []
    for _ in range(3):
        state = subject.snapshot_writer(weights_only=True).args[0]
        places.append([tensor.data_ptr() for tensor in state.values()])

    assert places[0] == places[1] == places[2]
    assert places[0] != [tensor.data_ptr() for tensor in subject.model.state_dict().values()]
