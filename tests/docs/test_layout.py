"""The folders are what the project's owner fixed, and what is installed is what lies in them."""

import importlib
import subprocess
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
DECLARED = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-dir"]


def test_the_top_level_holds_nothing_more() -> None:
    """Beside pyproject.toml, README.md, core, adapters, plugins, tests and docs only LICENSE and dot-files."""
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout

    top = {name.split("/")[0] for name in listed.splitlines()}
    allowed = {"pyproject.toml", "README.md", "LICENSE", "core", "adapters", "plugins", "tests", "docs"}
    assert {name for name in top if not name.startswith(".")} <= allowed


def test_every_file_is_installed() -> None:
    """A file that was added since the last `pip install -e .` is not installed: install again."""
    for package, folder in DECLARED.items():
        (place,) = importlib.import_module(package).__path__
        files = {path.name for path in (ROOT / folder).glob("*.py")}

        assert {path.name for path in Path(place).glob("*.py")} == files


def test_every_folder_is_declared() -> None:
    """Each folder with Python files in core, adapters and plugins is a package in pyproject.toml."""
    files = [file for top in ("core", "adapters", "plugins") for file in (ROOT / top).rglob("*.py")]
    folders = {str(file.parent.relative_to(ROOT)) for file in files}

    assert folders == set(DECLARED.values())
