"""Files of PyTorch that trainbus writes in parts are those that PyTorch would have written."""

import io
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.adapters.torch.trainings import TYPES, same
from trainbus.adapters.torch.files.pt import write


@st.composite
def tensors(draw: st.DrawFn) -> torch.Tensor:
    """Return tensors of any dtype, memory order and part of a larger tensor."""
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
