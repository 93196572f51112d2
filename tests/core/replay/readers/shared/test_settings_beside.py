"""The settings of a run, as trackers write them beside it."""

from pathlib import Path
from typing import Any

import pytest

from trainbus.replay.readers.shared.settings_beside import MOST, flattened, read_yaml


def test_settings_that_refer_to_each_other_end():
    """Anchors of YAML make a few lines stand for any number of settings, or for settings inside themselves."""
    inner: Any = {"a": 1}
    for _ in range(50):
        inner = {"left": inner, "right": inner}
    assert len(flattened(inner)) == MOST
    endless: dict[str, Any] = {}
    endless["again"] = endless
    assert len(flattened(endless)) == 1


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("a: [1", "The settings in params.yaml are not read: while parsing"),
        ("a: !!python/object/apply:os.system ['touch ran']", "The settings in params.yaml are not read: could not"),
        ("a: " + "x" * 300_000, "params.yaml beside the run has more than 256,000 bytes and is not read."),
        ("a: " + "[" * 200_000, "The settings in params.yaml are not read"),
        ("a: !!timestamp x", "The settings in params.yaml are not read"),
        ("a: !!int ''", "The settings in params.yaml are not read"),
        ("a: !!bool x", "The settings in params.yaml are not read"),
        ("a: &a {x: 1}\nb: {<<: [*a, *a]}", "The settings in params.yaml are not read: it has the merge key '<<'."),
    ],
)
def test_a_file_that_cannot_be_read_is_noted(tmp_path: Path, content: str, words: str):
    """The run itself can be read; nothing in the file runs."""
    path, notes = tmp_path / "params.yaml", list[str]()
    path.write_text(content)

    assert read_yaml(path, notes) == {}
    assert notes[0].startswith(words)
    assert not Path("ran").exists()


def test_settings_of_yaml(tmp_path: Path):
    path = tmp_path / "params.yaml"
    path.write_text("lr: 0.1\nmodel:\n  widths: [4, 4]\n  depth: 3\n")
    assert read_yaml(path, []) == {"lr": 0.1, "model/widths": [4, 4], "model/depth": 3}
