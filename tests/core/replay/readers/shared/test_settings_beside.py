"""Settings in YAML and JSON files: all of them are read, and no file does harm."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainbus.limits import SETTINGS_BYTES
from trainbus.replay.readers.shared.settings_beside import MOST, flattened, read_settings

leaves = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text("abc: -#!&*'\"é€", max_size=5)
)
names = st.text("abc", min_size=1, max_size=3)
trees = st.dictionaries(
    names, st.recursive(leaves, lambda inside: st.dictionaries(names, inside, max_size=3)), max_size=4
)


@given(trees)
def test_each_value_has_the_path_to_it_as_its_name(tree: dict[str, Any]) -> None:
    """Empty mappings have no value."""
    found = flattened(tree)
    for name, value in found.items():
        inside: Any = tree
        for part in name.split("/"):
            inside = inside[part]
        assert inside == value
        assert not isinstance(inside, dict)


@given(trees)
def test_yaml_and_json_say_the_same(tmp_path_factory: pytest.TempPathFactory, tree: dict[str, Any]) -> None:
    """What JSON can hold is read alike from both."""
    yaml = pytest.importorskip("yaml")
    folder, notes = tmp_path_factory.mktemp("settings"), list[str]()
    (folder / "a.json").write_text(json.dumps(tree))
    (folder / "a.yaml").write_text(yaml.safe_dump(tree, allow_unicode=True), encoding="utf-8")
    assert read_settings(folder / "a.json", notes) == read_settings(folder / "a.yaml", notes) == flattened(tree)
    assert not notes


def test_objects_of_python_are_read_as_data_and_make_nothing(tmp_path: Path) -> None:
    """As in the hparams.yaml of Lightning, which holds a Namespace; a call in it is not made."""
    pytest.importorskip("yaml")
    file, made = tmp_path / "hparams.yaml", tmp_path / "made"
    file.write_text(
        "lr: 0.1\nargs: !!python/object:argparse.Namespace\n  depth: 3\nsize: !!python/tuple [3, 4]\nname: !Own x\n"
        f"call: !!python/object/apply:pathlib.Path.touch [!!python/object/apply:pathlib.Path ['{made}']]\n"
    )
    notes: list[str] = []
    found = read_settings(file, notes)
    assert {**found, "call": None} == {"lr": 0.1, "args/depth": 3, "size": [3, 4], "name": "x", "call": None}
    assert not notes
    assert not made.exists()


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        ("a.json", "{", "Expecting property name"),
        ("a.json", "[" * 100_000, "recursion|Expecting"),
        ("a.yaml", "a: [1", "while parsing"),
        ("a.yaml", "\x00", "special characters|control characters|#x0000"),
        ("a.yaml", "a: !!timestamp x", ""),
        ("a.yaml", "a: !!int ''", ""),
        ("a.yaml", "a: !!bool x", ""),
        ("a.yaml", "a: &a {x: 1}\nb: {<<: [*a, *a]}", "it has the merge key '<<'"),
        ("a.yaml", "a: &a [*a]", f"more than {MOST:,} values"),
        (
            "a.yaml",
            "a: &a [x,x,x,x,x,x,x,x,x]\n"
            + "".join(
                f"{new}: &{new} [{','.join([f'*{old}'] * 9)}]\n"
                for old, new in zip("abcdefgh", "bcdefghi", strict=True)
            ),
            f"more than {MOST:,} values",
        ),
        ("a.json", '"' + "x" * SETTINGS_BYTES + '"', f"more than {SETTINGS_BYTES:,} bytes"),
    ],
    ids=["json", "deep", "yaml", "binary", "timestamp", "int", "bool", "merge", "circle", "laughs", "large"],
)
def test_a_file_that_cannot_be_read_is_noted(tmp_path: Path, name: str, content: str, why: str) -> None:
    """With its name and the reason, in one sentence; nothing is raised."""
    if name.endswith("yaml"):
        pytest.importorskip("yaml")
    (tmp_path / name).write_text(content)
    notes: list[str] = []
    assert read_settings(tmp_path / name, notes) == {}
    (note,) = notes
    assert note.startswith(f"The settings in {name} are not read: ")
    assert re.search(why, note)


@pytest.mark.parametrize("content", ["", "3", "[1, 2]", "text"])
def test_a_file_without_a_mapping_has_no_settings(tmp_path: Path, content: str) -> None:
    """Such a file has another purpose."""
    pytest.importorskip("yaml")
    (tmp_path / "config.yaml").write_text(content)
    notes: list[str] = []
    assert read_settings(tmp_path / "config.yaml", notes) == {}
    assert not notes
