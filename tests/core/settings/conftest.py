"""A third-party package that is installed for one test."""

import importlib
import sys
from pathlib import Path

import pytest

MODULE = """
from trainbus import Callback, hookimpl

called = []

class Plugin:
    @hookimpl
    def on_train_begin(self):
        called.append("plugin")

class Listener(Plugin):
    @hookimpl
    def on_train_begin(self):
        called.append("callback")

class Nosy(Callback):
    "Listen to the beginning."

    def plugin(self):
        return Listener()

ready = Plugin()
"""
ENTRY_POINTS = """
[trainbus.callbacks]
Nosy = stranger:Nosy
Broken = broken:Broken
Plain = stranger:Plugin

[trainbus.plugins]
nosy_plugin = stranger:Plugin
ready_plugin = stranger:ready
"""


@pytest.fixture
def stranger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The directory of the package: a callback, plugins, what is no callback, and what cannot be imported."""
    (tmp_path / "stranger.py").write_text(MODULE)
    (tmp_path / "broken.py").write_text("import no_such_package\n")
    install(tmp_path, "stranger", ENTRY_POINTS)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "stranger", raising=False)
    importlib.invalidate_caches()
    return tmp_path


def install(folder: Path, name: str, entry_points: str) -> None:
    """Write the metadata of a package with these entry points."""
    info = folder / f"{name}-1.0.dist-info"
    info.mkdir(exist_ok=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(entry_points)
