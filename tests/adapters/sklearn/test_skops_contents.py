"""A ``.skops`` file that was made to fill the memory, to hang or to break its reader is refused."""

import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skops.io
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import SGDClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from tests.reliability.crafted import outcome_of
from trainbus.adapters.sklearn import SklearnSubject

PATH = Path("a.skops")
ROWS = np.zeros((2, 3))


def estimator() -> Any:
    return make_pipeline(StandardScaler(), SGDClassifier())


def honest() -> bytes:
    made = estimator()
    made[0].partial_fit(ROWS)
    made[1].partial_fit(ROWS, [0, 1], classes=[0, 1])
    return skops.io.dumps(made)


HONEST = honest()


def schema() -> Any:
    with zipfile.ZipFile(io.BytesIO(HONEST)) as file:
        return json.loads(file.read("schema.json"))


def archive(schema: Any = None, compression: int = zipfile.ZIP_STORED, **entries: bytes) -> bytes:
    """Return the honest file with another schema, and with other entries."""
    made = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(HONEST)) as before, zipfile.ZipFile(made, "w", compression) as after:
        for entry in before.namelist():
            if entry != "schema.json" and entry not in entries:
                after.writestr(entry, before.read(entry))
        for name, content in entries.items():
            after.writestr(name, content)
        data = before.read("schema.json") if schema is None else schema
        after.writestr("schema.json", data if isinstance(data, (str, bytes)) else json.dumps(data))
    return made.getvalue()


def arrays() -> list[str]:
    with zipfile.ZipFile(io.BytesIO(HONEST)) as file:
        return [name for name in file.namelist() if name.endswith(".npy")]


def declared(shape: tuple[int, ...], kind: str = "<f8") -> bytes:
    """Return an array that declares a shape, and has 8 bytes."""
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": kind, "fortran_order": False, "shape": shape})
    return file.getvalue() + bytes(8)


def replaced(content: bytes) -> bytes:
    """Return the honest file with another content of all its arrays."""
    return archive(None, **dict.fromkeys(arrays(), content))


def packed(content: bytes, compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as made:
        made.writestr("data.npy", content)
    return file.getvalue()


def listed(*content: Any, **more: Any) -> dict[str, Any]:
    return {"__class__": "list", "__module__": "builtins", "__loader__": "ListNode", "content": list(content), **more}


def doubled(times: int) -> Any:
    """Return a schema with a list of the same list twice, and so on."""
    inner: Any = listed(__id__=1)
    for number in range(2, times):
        inner = listed(inner, listed(__id__=number - 1), __id__=number)
    return {**inner, "protocol": schema()["protocol"]}


def repeated() -> Any:
    """Return a schema with one array many times, each under another number."""
    array = {
        "__class__": "ndarray",
        "__module__": "numpy",
        "__loader__": "NdArrayNode",
        "type": "numpy",
        "file": "x.npy",
    }
    return {**listed(*({**array, "__id__": number} for number in range(2_000))), "protocol": schema()["protocol"]}


def array_of(size: int) -> bytes:
    file = io.BytesIO()
    np.save(file, np.zeros(size))
    return file.getvalue()


def without(*path: Any) -> Any:
    changed = place = schema()
    for key in path[:-1]:
        place = place[key]
    del place[path[-1]]
    return changed


CRAFTED: dict[str, Callable[[], bytes]] = {
    "a bomb": lambda: archive(None, zipfile.ZIP_DEFLATED, x=bytes(60_000_000)),
    "an array of 10**12": lambda: replaced(declared((10**12,))),
    "an array of many dimensions": lambda: replaced(declared((1,) * 70)),
    "a negative array": lambda: replaced(declared((-1, -1))),
    "an array of large items": lambda: replaced(declared((1,), "|S2000000000")),
    "a bomb in an array's place": lambda: replaced(packed(bytes(60_000_000))),
    "an array of 10**12 in an archive": lambda: replaced(packed(declared((10**12,)))),
    "an array 2,000 times": lambda: archive(repeated(), **{"x.npy": array_of(100_000)}),
    "a list doubled 60 times": lambda: archive(doubled(60)),
    "deep lists": lambda: archive("[" * 100_000 + "]" * 100_000),
    "deep nodes": lambda: archive(
        '{"__class__":"list","__module__":"builtins","__loader__":"ListNode","content":[' * 900
    ),
    "no schema": lambda: packed(b"x"),
    "an empty schema": lambda: archive({}),
    "a number as schema": lambda: archive("7"),
    "a list as schema": lambda: archive([]),
    "a text of 10**5 digits": lambda: archive("9" * 100_000),
    "no loader": lambda: archive(without("__loader__")),
    "an unknown loader": lambda: archive({**schema(), "__loader__": "NothingNode"}),
    "a loader that is a list": lambda: archive({**schema(), "__loader__": [1]}),
    "no content": lambda: archive(without("content")),
    "no class": lambda: archive(without("__class__")),
    "content of another kind": lambda: archive({**schema(), "content": 5}),
    "a text as content": lambda: archive({**schema(), "content": "x"}),
    "a protocol of the future": lambda: archive({**schema(), "protocol": 10**30}),
    "an unknown reference": lambda: archive(
        {**schema(), "content": {**listed(), "__loader__": "CachedNode", "__id__": 5}}
    ),
    "a pipeline in itself": lambda: archive(
        {**schema(), "content": {"__loader__": "CachedNode", **listed(__id__=1)}, "__id__": 1}
    ),
    "an estimator without state": lambda: archive({**schema(), "content": None}),
    "steps that are none": lambda: archive(json.dumps(schema()).replace('"steps"', '"stops"')),
    "a setting that is missing": lambda: archive(json.dumps(schema()).replace('"alpha"', '"omega"')),
    "no archive": lambda: b"x" * 100,
    "nothing": lambda: b"",
}


def load() -> None:
    SklearnSubject(estimator()).load(PATH)


@pytest.mark.parametrize("crafted", CRAFTED)
def test_a_crafted_file_is_refused(crafted: str) -> None:
    """With little memory, at once, and with the reason in one line."""
    PATH.write_bytes(CRAFTED[crafted]())

    found = outcome_of(load)
    assert found.startswith("'a.skops'"), found


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2])
def test_an_honest_file_is_read(compression: int) -> None:
    """Also one that its user has compressed."""
    PATH.write_bytes(archive(None, compression))

    subject = SklearnSubject(estimator())
    subject.load(PATH)
    assert subject.estimator[1].coef_.shape == (1, 3)


VALUES = st.recursive(
    st.one_of(
        st.none(),
        st.integers(-2, 1 << 40),
        st.floats(),
        st.sampled_from(
            ["", "x", "ListNode", "DictNode", "ObjectNode", "NdArrayNode", "TupleNode", "TypeNode", "JsonNode"]
        ),
        st.sampled_from(
            ["builtins", "numpy", "list", "dict", "ndarray", "sklearn.pipeline", "Pipeline", "CachedNode", "nan"]
        ),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(
            st.sampled_from(["__class__", "__module__", "__loader__", "content", "__id__", "file"]), inner, max_size=6
        ),
    ),
    max_leaves=6,
)


def places(found: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the path of every value in a schema."""
    inside = found.items() if isinstance(found, dict) else enumerate(found) if isinstance(found, list) else ()
    return [path, *(each for key, value in inside for each in places(value, (*path, key)))]


PLACES = places(schema())[1:]


def changed(found: Any, path: tuple[Any, ...], value: Any) -> Any:
    """Return a schema with another value at a path; the schema itself if it no longer has the path."""
    if not path:
        return value
    key, *rest = path
    if isinstance(found, dict) and key in found:
        return {**found, key: changed(found[key], tuple(rest), value)}
    if isinstance(found, list) and isinstance(key, int) and key < len(found):
        return [*found[:key], changed(found[key], tuple(rest), value), *found[key + 1 :]]
    return found


@settings(max_examples=settings().max_examples // 3)  # each in a process of its own
@given(changes=st.lists(st.tuples(st.sampled_from(PLACES), VALUES), min_size=1, max_size=2))
def test_any_schema_is_an_estimator_or_is_refused(changes: list[tuple[tuple[Any, ...], Any]]) -> None:
    """An honest one with other values at some places: a value or CheckpointError."""
    made = schema()
    for path, value in changes:
        made = changed(made, path, value)
    PATH.write_bytes(archive(made))

    found = outcome_of(load)
    assert found == "a value" or found.startswith("'"), found
