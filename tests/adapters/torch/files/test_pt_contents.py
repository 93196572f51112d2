"""A file of ``torch.save`` that was made to fill the memory, or to hang, is refused before it is read."""

import io
import pickle
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.adapters.torch.trainings import same
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
from trainbus import Run
from trainbus.adapters.torch import TorchSubject
from trainbus.adapters.torch.files import pt
from trainbus.checkpoints import commit, read
from trainbus.limits import NESTING
from trainbus.plugins import ModelCheckpoint

STATE = {"weight": torch.arange(4.0).reshape(1, 4), "bias": torch.ones(1)}
PATH = Path("a.pt")
ZEROS = bytes(1_000_000)


def archive(data: bytes, compression: int = zipfile.ZIP_STORED, **entries: bytes) -> bytes:
    """Return the file of ``STATE`` with another pickle, and more entries."""
    honest, made = io.BytesIO(), io.BytesIO()
    torch.save(STATE, honest)
    with zipfile.ZipFile(honest) as before, zipfile.ZipFile(made, "w", compression) as after:
        for entry in before.infolist():
            after.writestr(entry.filename, data if entry.filename.endswith("/data.pkl") else before.read(entry))
        for added, content in entries.items():
            after.writestr(f"archive/data/{added}", content)
    return made.getvalue()


def storage(count: int, key: str = "0", kind: str = "FloatStorage") -> bytes:
    """Return a pickle's part for a storage."""
    return sequence(text("storage"), name("torch", kind), text(key), text("cpu"), whole(count)) + pickle.BINPERSID


def tensor(stored: bytes, size: int, stride: int = 1) -> bytes:
    """Return a pickle's part for a tensor."""
    hooks = call(name("collections", "OrderedDict"))
    shape = sequence(whole(size)), sequence(whole(stride))
    return call(name("torch._utils", "_rebuild_tensor_v2"), stored, whole(0), *shape, pickle.NEWFALSE, hooks)


def rebuilt(function: bytes, *arguments: bytes) -> bytes:
    """Return a pickle's part for a tensor of a class of its own, which a function makes."""
    return call(
        name("torch._tensor", "_rebuild_from_type_v2"),
        function,
        name("torch", "Tensor"),
        sequence(*arguments),
        mapping(),
    )


def valued(value: bytes) -> bytes:
    """Return an archive with a dictionary of one value."""
    return archive(whole_pickle(mapping((text("weight"), value))))


def keyed(key: bytes) -> bytes:
    """Return an archive with a dictionary of one key."""
    return archive(whole_pickle(mapping((key, text("x")))))


def old(state: Any) -> bytes:
    """Return a file of the format before PyTorch 1.6."""
    file = io.BytesIO()
    torch.save(state, file, _use_new_zipfile_serialization=False)
    return file.getvalue()


def old_with(data: bytes) -> bytes:
    """Return such a file with another pickle as its content."""
    header = b"".join(
        pickle.dumps(each, 2) for each in (torch.serialization.MAGIC_NUMBER, 1001, {"little_endian": True})
    )
    return header + data + pickle.dumps(["0"], 2) + bytes(100)


def tar() -> bytes:
    """Return a tar file, which was the format before that."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as written:
        for each in ("storages", "tensors", "pickle"):
            written.addfile(tarfile.TarInfo(each))
    return file.getvalue()


def scripted() -> bytes:
    """Return a TorchScript module."""
    file = io.BytesIO()
    torch.jit.save(torch.jit.trace(torch.nn.Linear(2, 1), torch.ones(1, 2)), file)
    return file.getvalue()


def twice() -> bytes:
    """Return an archive that has one name twice."""
    file = io.BytesIO(archive(whole_pickle(mapping())))
    with zipfile.ZipFile(file, "a") as written, pytest.warns(UserWarning, match="Duplicate"):
        written.writestr("archive/data.pkl", whole_pickle(mapping()))
    return file.getvalue()


CRAFTED: dict[str, tuple[str, Callable[[], bytes]]] = {
    "a bomb": ("would unpack to 60 MB", lambda: archive(whole_pickle(mapping()), zipfile.ZIP_DEFLATED, x=ZEROS * 60)),
    "a bomb of lzma": (
        "would unpack to 30 MB",
        lambda: archive(whole_pickle(mapping()), zipfile.ZIP_LZMA, x=ZEROS * 30),
    ),
    "a name twice": ("two entries with the same name", twice),
    "a tensor larger than its bytes": ("declares", lambda: valued(tensor(storage(10**9), 10**9))),
    "a tensor without bytes": ("declares", lambda: valued(tensor(storage(4, "nothing"), 4))),
    "a view larger than its bytes": ("storage", lambda: valued(tensor(storage(4), 10**11))),
    "a storage by a call": ("does not write", lambda: valued(call(name("torch", "FloatStorage"), whole(10**10)))),
    "a tensor by a call": ("does not write", lambda: valued(call(name("torch", "FloatTensor"), whole(10**10)))),
    "a tensor by a class": (
        "does not write",
        lambda: valued(call(name("torch", "FloatTensor"), whole(10**10), new=True)),
    ),
    "bytes by a call": ("a bytearray of something", lambda: valued(call(name("builtins", "bytearray"), whole(10**11)))),
    "bytes by a class": (
        "a bytearray of something",
        lambda: valued(call(name("builtins", "bytearray"), whole(10**11), new=True)),
    ),
    "bytes by a call of Python 2's name": (
        "a bytearray of something",
        lambda: valued(call(name("__builtin__", "bytearray"), whole(10**11))),
    ),
    "bytes of a size": (
        "a bytearray of something",
        lambda: valued(call(name("builtins", "bytearray"), call(name("torch", "Size"), sequence(whole(10**9))))),
    ),
    "a tensor of a size": (
        "does not write",
        lambda: valued(call(name("torch", "FloatTensor"), call(name("torch", "Size"), sequence(whole(10**10))))),
    ),
    "bytes by another call": ("by a function", lambda: valued(rebuilt(name("builtins", "bytearray"), whole(10**11)))),
    "a tensor by another call": ("by a function", lambda: valued(rebuilt(name("torch", "Tensor"), whole(10**11)))),
    "a call by a call by a call": (
        "by a function",
        lambda: valued(
            rebuilt(
                name("torch._tensor", "_rebuild_from_type_v2"),
                name("builtins", "bytearray"),
                name("torch", "Tensor"),
                sequence(whole(10**11)),
                mapping(),
            )
        ),
    ),
    "a call without arguments": (
        "by a function",
        lambda: valued(call(name("torch._tensor", "_rebuild_from_type_v2"), name("builtins", "bytearray"))),
    ),
    "a quantized tensor by another call": (
        "quantized",
        lambda: valued(
            rebuilt(name("torch._utils", "_rebuild_qtensor"), storage(4), whole(0), sequence(whole(10**11)))
        ),
    ),
    "a tensor that grows": (
        "sets attributes",
        lambda: valued(
            build(
                tensor(storage(4), 4),
                sequence(storage(4), whole(0), sequence(whole(10**9)), sequence(whole(1))),
            )
        ),
    ),
    "a view of 2 GB": ("storage", lambda: valued(tensor(storage(4), 5 * 10**8))),
    "attributes set twice": (
        "twice",
        lambda: valued(build(build(call(name("collections", "OrderedDict")), mapping()), mapping())),
    ),
    "bytes that are encoded": (
        "encoding",
        lambda: valued(call(name("_codecs", "encode"), text("x" * 100_000), text("punycode"))),
    ),
    "a quantized tensor": (
        "quantized",
        lambda: valued(call(name("torch._utils", "_rebuild_qtensor"), storage(4), whole(0), sequence(whole(10**11)))),
    ),
    "a set of doubled tuples": (
        "too many times",
        lambda: valued(call(name("builtins", "set"), sequence(doubled(60), kind="list"))),
    ),
    "a doubled key": ("too many times", lambda: keyed(doubled(60))),
    "a key of a size": ("too many times", lambda: keyed(call(name("torch", "Size"), doubled(60)))),
    "a deep key": ("deep", lambda: keyed(nested(300_000))),
    "a dictionary of pairs": (
        "unknown way",
        lambda: valued(
            call(name("collections", "OrderedDict"), sequence(sequence(doubled(60), text("x")), kind="list"))
        ),
    ),
    "a deep value": ("deep", lambda: valued(nested(300_000))),
    "deep lists": ("deep", lambda: valued(sequence(nested(NESTING), kind="list"))),
    "a list in itself": (
        "contains itself",
        lambda: valued(pickle.EMPTY_LIST + pickle.BINPUT + b"\x01" + pickle.BINGET + b"\x01" + pickle.APPEND),
    ),
    "attributes of a class": ("sets attributes", lambda: valued(build(name("torch", "Size"), mapping()))),
    "a storage of no name": ("unknown way", lambda: valued(sequence(text("storage")) + pickle.BINPERSID)),
    "a storage of a doubled name": (
        "unknown way",
        lambda: valued(
            sequence(text("storage"), name("torch", "FloatStorage"), doubled(60), text("cpu"), whole(1))
            + pickle.BINPERSID
        ),
    ),
    "no pickle": ("", lambda: archive(b"")),
    "half a pickle": ("ends too early", lambda: archive(pickle.MARK + pickle.BINUNICODE + b"\xff\xff\xff\xff")),
    "an old file that declares much": (
        "declares",
        lambda: old_with(whole_pickle(mapping((text("x"), storage(10**10))))),
    ),
    "an old file with a doubled key": ("too many", lambda: old_with(whole_pickle(mapping((doubled(60), text("x")))))),
    "an old file with a deep key": ("deep", lambda: old_with(whole_pickle(mapping((nested(200_000), text("x")))))),
    "a tar file": ("", tar),
    "TorchScript": ("TorchScript", scripted),
    "a pickle alone": ("did not write it", lambda: whole_pickle(mapping((doubled(60), text("x"))))),
    "an archive after a pickle": ("", lambda: whole_pickle(doubled(60)) + archive(whole_pickle(mapping()))),
}


def load() -> None:
    TorchSubject(torch.nn.Linear(4, 1)).load(PATH)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("crafted", CRAFTED)
def test_a_crafted_file_is_refused(crafted: str) -> None:
    """With little memory, at once, and with the reason in one line."""
    reason, content = CRAFTED[crafted]
    PATH.write_bytes(content())

    found = outcome_of(load)
    assert found.startswith("'a.pt'"), found
    assert reason in found


@pytest.mark.parametrize(
    "crafted",
    [
        "bytes by another call",
        "a bomb",
        "a tensor larger than its bytes",
        "a doubled key",
        "a deep value",
        "a tar file",
    ],
)
def test_a_resume_passes_over_a_crafted_file(crafted: str) -> None:
    """Though its manifest calls it intact."""

    def train(**options: Any) -> Run:
        with Run(
            TorchSubject(torch.nn.Linear(4, 1)), ModelCheckpoint("runs/m-{epoch}.pt"), verbose=0, **options
        ) as run:
            for _ in run.epochs(2):
                run.log(loss=0.0)
        return run

    train()
    newest = read(Path("runs/m-2.pt")).entry
    content, moment = (
        CRAFTED[crafted][1](),
        newest.model_dump(exclude={"digest", "size", "parts", "files", "written"}),
    )
    commit(Path("runs/m-2.pt"), lambda staged: staged.write_bytes(content), **moment)

    run = train(resume="auto")
    assert run.resumed is not None
    assert run.resumed.path == Path("runs/m-1.pt")


@pytest.mark.parametrize("write", [lambda state: archive(b""), old], ids=["zip", "old"])
def test_honest_files_are_read(write: Callable[[Any], bytes], tmp_path: Path) -> None:
    """Of the present format and of the one before PyTorch 1.6, also compressed a little, with keys of many types."""
    state = {
        **STATE,
        "half": torch.ones(3, dtype=torch.float16),
        3: {(1, (2, None)): "x", torch.float32: 1e300, "k": b"xy"},
    }
    for _ in range(NESTING // 2):
        state = {"inside": [state["weight"]], **state}
    file = PATH
    if write is old:
        file.write_bytes(old(state))
    else:
        pt.write(state, file)

    assert same(pt.read(file), state)


@pytest.mark.filterwarnings("ignore")  # PyTorch warns of the storages that its own reader uses
@pytest.mark.parametrize("write", [lambda state: archive(b""), old], ids=["zip", "old"])
def test_every_honest_way_to_make_a_value_is_read(write: Callable[[Any], bytes]) -> None:
    """Tensors and parameters with attributes, sparse and quantized ones, sizes, and bytes."""
    tagged, parameter = torch.ones(2), torch.nn.Parameter(torch.ones(3))
    tagged.tag, parameter.tag = "x", [1]  # type: ignore[attr-defined]
    state = {
        "tagged": tagged,
        "parameter": parameter,
        "plain": torch.nn.Parameter(torch.zeros(1), requires_grad=False),
        "sparse": torch.eye(3).to_sparse(),
        "quantized": torch.quantize_per_tensor(torch.ones(4), 0.1, 0, torch.qint8),
        "others": [torch.Size([3]), bytearray(b"ab"), bytearray(), b"ab", {1, 2}, torch.device("cpu"), 1j],
    }
    if write is old:
        PATH.write_bytes(old(state))
    else:
        pt.write(state, PATH)
    found = pt.read(PATH)
    assert (found["tagged"].tag, found["parameter"].tag) == ("x", [1])
    assert found["others"] == state["others"]
    assert all(torch.equal(found[key].to_dense(), state[key].to_dense()) for key in ("parameter", "plain", "sparse"))
    assert torch.equal(found["quantized"].dequantize(), state["quantized"].dequantize())


def deep(levels: int) -> Any:
    return {"x": deep(levels - 1)} if levels else 1


@pytest.mark.parametrize("levels", [NESTING - 1, NESTING, NESTING + 1])
def test_the_limit_of_nesting_is_exact(levels: int) -> None:
    pt.write(deep(levels), PATH)
    if levels <= NESTING:
        assert pt.read(PATH) == deep(levels)
    else:
        with pytest.raises(OSError, match=f"more than {NESTING} deep"):
            pt.read(PATH)


NAMES = [
    *(
        ("torch._utils", each)
        for each in ("_rebuild_tensor_v2", "_rebuild_parameter", "_rebuild_qtensor", "_rebuild_tensor")
    ),
    *(("torch", each) for each in ("FloatStorage", "Size", "device", "FloatTensor", "Tensor", "float32")),
    ("collections", "OrderedDict"),
    ("collections", "Counter"),
    ("builtins", "set"),
    ("builtins", "bytearray"),
    ("torch.nn.parameter", "Parameter"),
    ("torch.sparse", "FloatTensor"),
    ("os", "mkdir"),
]
ATOMS = st.one_of(
    st.sampled_from([pickle.NONE, pickle.NEWTRUE, pickle.EMPTY_DICT, pickle.EMPTY_LIST, pickle.EMPTY_TUPLE]),
    st.sampled_from([storage(4), storage(10**11), tensor(storage(4), 4), tensor(storage(4), 10**10, 0)]),
    st.integers(-3, 1 << 66).map(whole),
    st.sampled_from(["weight", "bias", "model", "trainbus", "optimizers", "format", "latin1", "cpu"]).map(text),
    st.sampled_from(NAMES).map(lambda each: name(*each)),
    st.binary(max_size=2),
)


def fragments() -> st.SearchStrategy[bytes]:
    def larger(inner: st.SearchStrategy[bytes]) -> st.SearchStrategy[bytes]:
        parts = st.lists(inner, max_size=3)
        return st.one_of(
            parts.map(lambda each: sequence(*each)),
            parts.map(lambda each: sequence(*each, kind="list")),
            st.lists(st.tuples(inner, inner), max_size=3).map(lambda items: mapping(*items)),
            st.tuples(inner, parts, st.booleans()).map(lambda each: call(each[0], *each[1], new=each[2])),
            st.tuples(inner, inner).map(lambda each: build(*each)),
            inner.map(lambda part: doubled(40, part)),
            parts.map(lambda each: sequence(*each) + pickle.BINPERSID),
        )

    return st.recursive(ATOMS, larger, max_leaves=8)


@settings(max_examples=settings().max_examples // 3)  # each in a process of its own
@given(data=st.data())
def test_any_pickle_is_a_state_or_is_refused(data: st.DataObject) -> None:
    """Honest ones with a part replaced, and made ones, packed or not: a value or CheckpointError."""
    honest = io.BytesIO()
    header = {"format": 1, "classes": {}, "parameters": {}}
    torch.save(data.draw(st.sampled_from([STATE, {"trainbus": header, "model": STATE, "random": None}])), honest)
    with zipfile.ZipFile(honest) as file:
        content = file.read("archive/data.pkl")
    part = data.draw(fragments())
    start = data.draw(st.integers(2, len(content)))
    end = data.draw(st.integers(start, min(start + 40, len(content))))
    made = data.draw(
        st.sampled_from(
            [content[:start] + part + content[end:], whole_pickle(part), whole_pickle(mapping((text("weight"), part)))]
        )
    )
    PATH.write_bytes(data.draw(st.sampled_from([archive(made), old_with(made), archive(made, zipfile.ZIP_DEFLATED)])))

    found = outcome_of(load)
    assert found == "a value" or found.startswith("'"), found
