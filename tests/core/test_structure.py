"""The engine is composed: its classes inherit nothing from each other, and no part reads the insides of another."""

import ast
import importlib
import inspect
from collections.abc import Iterator
from pathlib import Path

import pytest

import trainbus
from trainbus import Run

CORE = Path(__file__).parents[2] / "core"
RUN = CORE / "run.py"
ENGINE, DISTRIBUTED, RESUME = (sorted((CORE / room).glob("*.py")) for room in ("engine", "distributed", "resume"))

COUNTS_RANKS = {
    *DISTRIBUTED,
    *RESUME,
    *(CORE / "storage").glob("*.py"),
    *(CORE / "checkpoints" / f"{name}.py" for name in ("collective_commit", "writer_group")),
    CORE / "engine" / "resumer.py",
    RUN,
}
"""Files that may ask which process this is, and of how many."""


def name_of(file: Path) -> str:
    return str(file.relative_to(CORE))


def attributes(file: Path) -> Iterator[ast.Attribute]:
    """Every access to an attribute in the code of a file."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Attribute):
            yield node


def test_a_run_inherits_nothing() -> None:
    """It holds its parts as attributes."""
    assert Run.__mro__ == (Run, object)


@pytest.mark.parametrize("file", [*ENGINE, *DISTRIBUTED, RUN], ids=name_of)
def test_no_class_of_the_engine_inherits_from_another(file: Path) -> None:
    """But for protocols and errors."""
    parts = file.relative_to(CORE).with_suffix("").parts
    module = importlib.import_module(".".join([trainbus.__name__, *(each for each in parts if each != "__init__")]))
    classes = [each for _, each in inspect.getmembers(module, inspect.isclass) if each.__module__ == module.__name__]
    inherited = [
        (each.__name__, base.__name__)
        for each in classes
        for base in each.__bases__
        if base.__module__.partition(".")[0] == trainbus.__name__
        and not issubclass(base, BaseException)
        and not getattr(base, "_is_protocol", False)
    ]

    assert inherited == []


@pytest.mark.parametrize("file", [*ENGINE, *DISTRIBUTED, *RESUME, RUN], ids=name_of)
def test_no_part_reads_the_private_attributes_of_another(file: Path) -> None:
    """A name with a leading underscore is read from ``self`` or ``cls`` only."""
    private = [
        f"line {node.lineno}: {ast.unparse(node)}"
        for node in attributes(file)
        if node.attr.startswith("_") and not node.attr.endswith("__")
        if not (isinstance(node.value, ast.Name) and node.value.id in ("self", "cls"))
    ]

    assert private == []


@pytest.mark.parametrize("file", [*ENGINE, *DISTRIBUTED, RUN], ids=name_of)
def test_no_part_passes_on_attributes_that_it_does_not_have(file: Path) -> None:
    """No ``__getattr__``: what an object has can be read in its class."""
    defined = [node.name for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.FunctionDef)]

    assert not {"__getattr__", "__getattribute__"} & set(defined)


@pytest.mark.parametrize("file", sorted({*CORE.rglob("*.py")} - COUNTS_RANKS), ids=name_of)
def test_only_the_group_knows_how_many_processes_there_are(file: Path) -> None:
    """Elsewhere nothing reads ``rank`` or ``size`` of a group; what a plugin may read is ``run.rank``."""
    counted = []
    for node in attributes(file):
        owner = ast.unparse(node.value).rpartition(".")[2].strip("_")
        of_group = owner in ("group", "ranks", "writer_group", "ranks()", "writer_group()")
        if (node.attr == "rank" and owner != "run") or (node.attr == "size" and of_group):
            counted.append(f"line {node.lineno}: {ast.unparse(node)}")

    assert counted == []


def test_the_files_that_count_ranks_exist() -> None:
    """A file that was moved would be an exception without a subject."""
    assert all(file.is_file() for file in COUNTS_RANKS)
