"""The package works without its metadata: in a zip file, frozen, or copied into another project."""

import compileall
import shutil
import subprocess
import sys
import tomllib
import zipfile
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from trainbus.settings.built_in import ENTRY_POINTS, built_in

from .conftest import install

ROOT = Path(__file__).parents[3]
DECLARED = tomllib.loads((ROOT / "pyproject.toml").read_text())
TRAINING = """
import importlib.metadata, sys
import trainbus
from trainbus import Run, callbacks_from
from trainbus.cli import main
from trainbus.settings.registry import installed, load, summary
from trainbus.testing import LineSubject

assert all(sys.path[0] in place for place in trainbus.__path__), trainbus.__path__
for group in ("callbacks", "adapters", "bindings", "plugins", "readers"):
    print(group, *installed(group))
listed = callbacks_from([{"callback": "ModelCheckpoint", "filepath": "run/m-{epoch}", "verbose": 2}])
for epochs in (1, 2):
    with Run(LineSubject(), [*listed, "EarlyStopping", "TensorBoard"], resume="auto") as run:
        for epoch in run.epochs(epochs):
            run.log(val_loss=1.0)
print("journal", len(open("run/journal.jsonl").readlines()) > 0)
print("adapter", load("adapters", "sklearn").__name__)
print("summary", summary(installed("callbacks")["EarlyStopping"]))
main(["callbacks"])
main(["replay", "run/journal.jsonl", "--html", "page.html"])
print("page", len(open("page.html").read()) > 0)
"""


def test_the_entry_points_are_those_that_the_project_declares() -> None:
    """Other tools list the built-ins by the metadata; trainbus finds the same without it."""
    declared = DECLARED["project"]["entry-points"]

    assert {group: {point.name: point.value for point in built_in(group)} for group in ENTRY_POINTS} == declared
    assert all(isinstance(point, EntryPoint) for group in declared for point in built_in(group))
    assert built_in("console_scripts") == []


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the package alone."""
    place = tmp_path_factory.mktemp("tree")
    for package, folder in DECLARED["tool"]["setuptools"]["package-dir"].items():
        target = place.joinpath(*package.split("."))
        target.mkdir(parents=True)
        files = ["*.py", *DECLARED["tool"]["setuptools"]["package-data"].get(package, ())]
        for file in (each for pattern in files for each in (ROOT / folder).glob(pattern)):
            shutil.copy(file, target)
    return place


@pytest.fixture(scope="module")
def dependencies(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with everything that is installed, but trainbus."""
    place = tmp_path_factory.mktemp("site")
    for folder in (Path(each) for each in sys.path if Path(each).name == "site-packages"):
        for installed in folder.iterdir():
            link = place / installed.name
            if "trainbus" not in installed.name and not link.exists():
                link.symlink_to(installed)
    return place


def as_zip(tree: Path, place: Path) -> Path:
    path = place / "trainbus.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for file in tree.rglob("*.*"):
            archive.write(file, file.relative_to(tree))
    return path


def as_folder(tree: Path, place: Path) -> Path:
    return shutil.copytree(tree, place / "vendor")


def as_bytecode(tree: Path, place: Path) -> Path:
    copied = as_folder(tree, place)
    compileall.compile_dir(copied, quiet=2, legacy=True)
    for file in copied.rglob("*.py"):
        file.unlink()
    return copied


def as_zipped_bytecode(tree: Path, place: Path) -> Path:
    copied, path = as_bytecode(tree, place), place / "compiled.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for file in copied.rglob("*.*"):
            archive.write(file, file.relative_to(copied))
    return path


def as_copy_beside_another_version(tree: Path, place: Path) -> Path:
    """Its metadata names modules that this version does not have."""
    copied = as_folder(tree, place)
    install(copied, "trainbus", "[trainbus.callbacks]\nEarlyStopping = trainbus.stopping:EarlyStopping\n")
    return copied


def as_copy_beside_broken_metadata(tree: Path, place: Path) -> Path:
    """What an uninstall that was interrupted may leave."""
    copied = as_folder(tree, place)
    (copied / "trainbus-0.0.dist-info").mkdir()
    return copied


@pytest.mark.parametrize(
    ("form", "summary"),
    [
        pytest.param(as_zip, "Stop when", marks=pytest.mark.exhaustive),
        pytest.param(as_folder, "Stop when", marks=pytest.mark.exhaustive),
        pytest.param(as_bytecode, "", marks=pytest.mark.exhaustive),
        pytest.param(as_zipped_bytecode, "", marks=pytest.mark.exhaustive),
        pytest.param(as_copy_beside_another_version, "Stop when", marks=pytest.mark.exhaustive),
        pytest.param(as_copy_beside_broken_metadata, "Stop when", marks=pytest.mark.exhaustive),
    ],
)
def test_a_training_runs_without_the_metadata(
    form: object, summary: str, tree: Path, dependencies: Path, tmp_path: Path
) -> None:
    """The callbacks that are named, the journal, the progress and the adapters are found."""
    assert callable(form)
    package = form(tree, tmp_path)
    script = f"import sys; sys.path[:0] = [{str(package)!r}]; sys.path.append({str(dependencies)!r})\n{TRAINING}"

    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", script],
        check=False,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
    )

    assert done.returncode == 0, done.stderr
    for group, points in ENTRY_POINTS.items():
        assert f"{group.removeprefix('trainbus.')} {' '.join(sorted(points))}\n" in done.stdout
    assert "page True\n" in done.stdout
    assert "journal True\nadapter SklearnSubject\n" in done.stdout
    assert f"summary {summary}" in done.stdout
    assert done.stdout.count("epoch 1/1") + done.stdout.count("Epoch 1/1") == 1, done.stdout
    listed = f"EarlyStopping          {summary or 'trainbus.plugins.early_stopping.callback:EarlyStopping'}"
    assert listed in done.stdout
