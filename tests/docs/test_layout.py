"""The folders at the top are fixed, every module has its tests, and what is installed is the tree."""

import importlib.util
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
TOPS = {"core": "trainbus", "adapters": "trainbus/adapters", "plugins": "trainbus/plugins"}
"""Folders of the tree with their paths in a wheel."""
DECLARED = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-dir"]


def test_the_top_level_holds_nothing_more() -> None:
    """Only LICENSE and dot-files join pyproject.toml, README.md, core, adapters, plugins, tests and docs."""
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout

    top = {name.split("/")[0] for name in listed.splitlines()}
    allowed = {"pyproject.toml", "README.md", "LICENSE", "core", "adapters", "plugins", "tests", "docs"}
    assert {name for name in top if not name.startswith(".")} <= allowed


def test_every_file_is_installed() -> None:
    """A file added since the last ``pip install -e .`` is not installed: install again."""
    for package, folder in DECLARED.items():
        spec = importlib.util.find_spec(package)  # importing a binding needs its framework
        assert spec is not None
        (place,) = spec.submodule_search_locations or ()
        files = {path.name for path in (ROOT / folder).glob("*.py")}

        assert {path.name for path in Path(place).glob("*.py")} == files


def test_every_folder_is_declared() -> None:
    """Each folder with Python files in core, adapters and plugins is a package in pyproject.toml."""
    folders = {str(file.parent.relative_to(ROOT)) for top in TOPS for file in (ROOT / top).rglob("*.py")}

    assert folders == set(DECLARED.values())


def test_every_module_has_its_test_file() -> None:
    """tests/core/engine/test_bus.py tests core/engine/bus.py, and so on."""
    modules = {path.relative_to(ROOT) for top in TOPS for path in (ROOT / top).rglob("*.py")}
    untested = {
        str(path)
        for path in modules
        if path.name != "__init__.py" and not (ROOT / "tests" / path.with_name(f"test_{path.name}")).is_file()
    }

    assert not untested


def test_a_wheel_holds_the_tree(tmp_path: Path) -> None:
    """Its Python files are those of core, adapters and plugins, byte for byte."""
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    source = tmp_path / "source"
    for top in TOPS:
        shutil.copytree(ROOT / top, source / top, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("LICENSE", "README.md", "pyproject.toml"):
        shutil.copy(ROOT / name, source)
    subprocess.run([*command, "--wheel-dir", str(tmp_path), str(source)], check=True, timeout=300)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        in_wheel = {name: archive.read(name) for name in archive.namelist() if name.endswith(".py")}

    assert in_wheel == {
        f"{place}/{path.relative_to(ROOT / top)}": path.read_bytes()
        for top, place in TOPS.items()
        for path in (ROOT / top).rglob("*.py")
    }
