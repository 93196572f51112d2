"""The index of a sharded directory is read without running code, and names files of its directory only."""

import hashlib
import os
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.distributed.checkpoint import FileSystemReader, state_dict_saver
from torch.distributed.checkpoint.metadata import Metadata

from trainbus import CheckpointError, UnreadableCheckpoint
from trainbus.adapters.torch.files.dcp_index import ALLOWED, INDEX, read_index, write_index

pytestmark = pytest.mark.filterwarnings("ignore:torch.distributed is")

DTYPES = (torch.float32, torch.bfloat16, torch.int64, torch.bool, torch.complex64)


class Malicious:
    """An object that creates a directory when it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, ("code-ran",)


def saved(state: dict[str, Any], path: Path = Path("a.dcp")) -> Path:
    """Save a state with DCP itself; return the path of the index."""
    state_dict_saver.save(state, checkpoint_id=path, no_dist=True)
    return path / INDEX


def content(index: Metadata) -> tuple[Any, ...]:
    """Return an index without the identity of who wrote or read it."""
    return index.state_dict_metadata, index.planner_data, index.storage_data


@given(st.dictionaries(st.text("ab.", min_size=1), st.tuples(st.sampled_from(DTYPES), st.integers(0, 3)), min_size=1))
def test_an_index_of_dcp_is_read_as_dcp_reads_it(shapes: dict[str, tuple[torch.dtype, int]]) -> None:
    """Every type of tensor, plain values, and nested names; a written index is read back, by DCP too."""
    tensors = {name: torch.zeros(size, 2, dtype=dtype) for name, (dtype, size) in shapes.items()}
    index = saved({"model": tensors, "plain": {"epoch": 3}}, Path(os.urandom(8).hex()))
    found, theirs = read_index(index), FileSystemReader(index.parent).read_metadata()
    assert content(found) == content(theirs)

    digest = write_index(found, index)
    assert digest == hashlib.sha256(index.read_bytes()).hexdigest()
    assert os.listdir(index.parent).count(INDEX) == 1
    assert content(read_index(index)) == content(FileSystemReader(index.parent).read_metadata()) == content(theirs)
    assert str(index.parent.absolute()).encode() not in index.read_bytes()


@pytest.mark.parametrize("name", ["../outside", "/etc/passwd", "shards-1/../../x", 3])
def test_an_index_names_nothing_outside(name: Any) -> None:
    """All files that an index names are in the directory, or the index is refused."""
    index = saved({"x": torch.ones(1)})
    metadata = read_index(index)
    next(iter(metadata.storage_data.values())).relative_path = name
    index.write_bytes(pickle.dumps(metadata))

    with pytest.raises(CheckpointError, match=r"a\.dcp.*is outside its directory"):
        read_index(index)


@pytest.mark.parametrize("wrong", ["missing", "no pickle", "empty", "another object", "cut short"])
def test_what_is_no_index_is_refused(wrong: str) -> None:
    """A directory without an index, or with something else under its name, is refused by name."""
    index = saved({"x": torch.ones(1)})
    contents = {
        "no pickle": b"\x93NUMPY",
        "empty": b"",
        "another object": pickle.dumps({}),
        "cut short": index.read_bytes()[:-9],
    }
    index.unlink()
    if wrong != "missing":
        index.write_bytes(contents[wrong])

    with pytest.raises(UnreadableCheckpoint, match=r"a\.dcp.*\.metadata"):
        read_index(index)


@pytest.mark.parametrize("inside", [False, True])
def test_an_object_that_dcp_does_not_write_is_not_created(inside: bool) -> None:
    index = saved({"x": torch.ones(1)})
    metadata: Any = Malicious()
    if inside:
        metadata = read_index(index)
        metadata.planner_data["evil"] = Malicious()
    index.write_bytes(pickle.dumps(metadata))

    with pytest.raises(UnreadableCheckpoint, match="mkdir, which is not part of an index and could run code"):
        read_index(index)
    assert not Path("code-ran").exists()


@pytest.mark.parametrize("name", ["load", "hub", "serialization", "nn.Linear", "_C"])
def test_of_torch_only_listed_names_and_dtypes_are_found(name: str) -> None:
    """A pickle of protocol 2 may name anything that can be imported."""
    index = saved({"x": torch.ones(1)})
    index.write_bytes(b"\x80\x02ctorch\n" + name.encode() + b"\n.")

    assert name not in ALLOWED["torch"]
    with pytest.raises(UnreadableCheckpoint, match="could run code"):
        read_index(index)
