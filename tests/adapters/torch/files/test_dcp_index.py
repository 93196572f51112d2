"""The index of a sharded directory is read without running code, and names files of its directory only."""

import hashlib
import os
import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from struct import pack
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.distributed.checkpoint import FileSystemReader, state_dict_saver
from torch.distributed.checkpoint.metadata import Metadata

from tests.reliability.crafted import (
    build,
    call,
    doubled,
    mapping,
    name,
    nested,
    outcome_of,
    sequence,
    text,
    whole,
    whole_pickle,
)
from trainbus import CheckpointError, UnreadableCheckpoint
from trainbus.adapters.torch.files.dcp import Shards
from trainbus.adapters.torch.files.dcp_index import ALLOWED, INDEX, METADATA, read_index, write_index

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


# --- crafted indexes

STATE = {"x": torch.ones(1), "l": [torch.ones(1), torch.ones(1)]}


def set_by(module: str, attribute: str, state: bytes) -> bytes:
    """Return a pickle that sets attributes of something that it imports, and then holds an honest index."""
    honest = pickle.loads(saved(STATE, Path("honest.dcp")).read_bytes())
    fragment = build(name(module, attribute), state) + pickle.POP
    return pickle.PROTO + b"\x02" + fragment + pickle.dumps(honest, protocol=2)[2:]


def index_with(change: Callable[[Metadata], object]) -> bytes:
    """Return an index that was changed."""
    index = read_index(saved(STATE, Path("honest.dcp")))
    change(index)
    return pickle.dumps(index)


def keyed_by(key: bytes) -> bytes:
    """Return an index one of whose dictionaries has this key."""
    state = mapping((text("planner_data"), mapping((key, text("x")))))
    return whole_pickle(build(call(name(METADATA, "Metadata"), new=True), state))


def widened(index: Metadata) -> None:
    index.state_dict_metadata["x"].size = torch.Size([10**12])


def repeated(index: Metadata) -> None:
    for number in range(2_000):
        index.state_dict_metadata[f"x{number}"] = replace(index.state_dict_metadata["x"], size=torch.Size([10**6]))


def shared_chunks(index: Metadata) -> None:
    chunks = index.state_dict_metadata["x"].chunks * 2_000
    for number in range(2_000):
        index.state_dict_metadata[f"x{number}"] = replace(index.state_dict_metadata["x"], chunks=chunks)


PARTS = mapping((text("parts"), text("elsewhere")))
CRAFTED: dict[str, Callable[[], bytes]] = {
    "a class's parts": lambda: set_by("pathlib", "PurePosixPath", sequence(pickle.NONE, PARTS)),
    "a class's parent": lambda: set_by(
        "pathlib", "PosixPath", sequence(pickle.NONE, mapping((text("parent"), text("x"))))
    ),
    "the index's class": lambda: set_by(METADATA, "Metadata", sequence(pickle.NONE, PARTS)),
    "a function": lambda: set_by("torch.serialization", "_get_layout", PARTS),
    "an enumeration": lambda: set_by(METADATA, "_MEM_FORMAT_ENCODING", sequence(pickle.NONE, PARTS)),
    "attributes by slots": lambda: set_by("collections", "OrderedDict", sequence(pickle.NONE, PARTS)),
    "a new path": lambda: whole_pickle(build(call(name("pathlib", "PurePosixPath"), text("a")), PARTS)),
    "a tuple doubled 60 times as a key": lambda: keyed_by(doubled(60)),
    "a tuple nested 500,000 deep as a key": lambda: keyed_by(nested(500_000)),
    "an unhashable key": lambda: keyed_by(sequence(kind="list")),
    "500,000 marks": lambda: pickle.MARK * 500_000,
    "500,000 dictionaries": lambda: pickle.EMPTY_DICT * 500_000,
    "a huge place in the memo": lambda: whole_pickle(pickle.NONE + pickle.LONG_BINPUT + b"\xff\xff\xff\x7f"),
    "a text of a terabyte": lambda: whole_pickle(pickle.BINUNICODE8 + pack("<Q", 1 << 40)),
    "a frame of an exabyte": lambda: pickle.FRAME + pack("<Q", 1 << 60) + b".",
    "a call of what was made": lambda: whole_pickle(call(call(name("torch", "Size")))),
    "a call of a class with much": lambda: whole_pickle(call(name("torch", "Size"), sequence(whole(1 << 70)))),
    "an index without content": lambda: whole_pickle(call(name(METADATA, "Metadata"), new=True)),
    "a tensor of 10**12 numbers": lambda: index_with(widened),
    "2,000 tensors in the same bytes": lambda: index_with(repeated),
    "2,000 tensors with the same 2,000 parts": lambda: index_with(shared_chunks),
    "an item at place 10**12": lambda: index_with(lambda index: index.planner_data.update({"x": ("l", 10**12)})),
    "a negative place": lambda: index_with(lambda index: index.planner_data.update({"x": ("l", -1)})),
    "a tensor that contains another": lambda: index_with(lambda index: index.planner_data.update({"l.1": ("x", "y")})),
    "a path of no keys": lambda: index_with(lambda index: index.planner_data.update({"x": ()})),
    "a path of 10,000 keys": lambda: index_with(lambda index: index.planner_data.update({"x": ("a",) * 10_000})),
    "a part behind the end of its file": lambda: index_with(
        lambda index: [setattr(each, "offset", 10**15) for each in index.storage_data.values()]
    ),
    "a part of a negative length": lambda: index_with(
        lambda index: [setattr(each, "length", -1) for each in index.storage_data.values()]
    ),
    "an extension that unpacks": lambda: index_with(
        lambda index: [setattr(each, "transform_descriptors", ["stream.zstd"]) for each in index.storage_data.values()]
    ),
    "no dtype": lambda: index_with(
        lambda index: setattr(index.state_dict_metadata["x"].properties, "dtype", torch.Size)
    ),
    "1,000 dimensions": lambda: index_with(
        lambda index: setattr(index.state_dict_metadata["x"], "size", torch.Size([1] * 1000))
    ),
}


@pytest.mark.parametrize("crafted", CRAFTED)
def test_a_crafted_index_is_refused(crafted: str) -> None:
    """It changes nothing in the process, and takes little memory and time."""
    content = CRAFTED[crafted]()
    index = saved(STATE)
    index.write_bytes(content)

    assert outcome_of(lambda: Shards(index.parent).read(lambda _: None)).startswith("'a.dcp")


NAMES = [(module, each) for module, names in ALLOWED.items() for each in names] + [
    ("torch", "float32"),
    ("os", "mkdir"),
]
ATOMS = st.one_of(
    st.sampled_from([pickle.NONE, pickle.NEWTRUE, pickle.EMPTY_DICT, pickle.EMPTY_LIST, pickle.EMPTY_TUPLE]),
    st.integers(-3, 1 << 66).map(whole),
    st.sampled_from(["state_dict_metadata", "planner_data", "storage_data", "size", "chunks", "fqn", "x", "parts"]).map(
        text
    ),
    st.sampled_from(NAMES).map(lambda each: name(*each)),
    st.binary(max_size=3),
)


def fragments() -> st.SearchStrategy[bytes]:
    """Return parts of pickles, most of which push one value."""

    def larger(inner: st.SearchStrategy[bytes]) -> st.SearchStrategy[bytes]:
        pairs = st.lists(st.tuples(inner, inner), max_size=3)
        return st.one_of(
            st.lists(inner, max_size=3).map(lambda parts: sequence(*parts)),
            st.lists(inner, max_size=3).map(lambda parts: sequence(*parts, kind="list")),
            pairs.map(lambda items: mapping(*items)),
            st.tuples(inner, st.lists(inner, max_size=2), st.booleans()).map(
                lambda each: call(each[0], *each[1], new=each[2])
            ),
            st.tuples(inner, inner).map(lambda each: build(*each)),
            inner.map(lambda part: doubled(40, part)),
        )

    return st.recursive(ATOMS, larger, max_leaves=8)


@settings(max_examples=settings().max_examples // 3)  # each in a process of its own
@given(data=st.data())
def test_any_pickle_is_an_index_or_is_refused(data: st.DataObject) -> None:
    """Honest ones with a part replaced, and made ones: a value or CheckpointError, and the process stays as it is."""
    index = saved({"x": torch.ones(2), "l": [torch.ones(1)]}, Path(os.urandom(8).hex()))
    honest = index.read_bytes()
    crafted = data.draw(fragments())
    start = data.draw(st.integers(2, len(honest)))
    end = data.draw(st.integers(start, min(start + 40, len(honest))))
    index.write_bytes(data.draw(st.sampled_from([honest[:start] + crafted + honest[end:], whole_pickle(crafted)])))

    found = outcome_of(lambda: Shards(index.parent).read(lambda _: None))
    assert found == "a value" or found.startswith("'"), found
