"""The engine is composed: its classes inherit nothing from each other, and no part reads the insides of another."""

import ast
import importlib
import inspect
from collections.abc import Iterator
from pathlib import Path

import pytest

import trainbus
from trainbus import Run
from trainbus.distributed.group import Group, Solo
from trainbus.distributed.rank_group import RankGroup

CORE = Path(__file__).parents[2] / "core"
RUN, PARTS = CORE / "run.py", CORE / "lifecycle" / "parts.py"
ASSEMBLED = RUN, *sorted((CORE / "lifecycle").glob("*.py"))
ENGINE, DISTRIBUTED, RESUME = (sorted((CORE / room).rglob("*.py")) for room in ("engine", "distributed", "resume"))

COLLECTIVE_WRITERS = {
    *(
        CORE / "checkpoints" / f"{name}.py"
        for name in ("async_writer", "checkpoint_writer", "collective_commit", "snapshots", "writer_group")
    ),
    CORE / "storage" / "sharded_directory.py",
}
RANK_STATES = {
    CORE / "resume" / f"{name}.py"
    for name in (
        "loaders/loader_resumption",
        "loaders/loop_size",
        "loaders/stream",
        "other_ranks",
        "resumption",
        "state",
    )
}
HANDED_A_RANK = {*DISTRIBUTED, *COLLECTIVE_WRITERS, *RANK_STATES}
"""Files whose classes and functions take a rank, or the ranks, as an argument."""
RANK_NAMES = frozenset({"rank", "ranks", "leads"})


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


@pytest.mark.parametrize("file", [*ENGINE, *DISTRIBUTED, *ASSEMBLED], ids=name_of)
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


@pytest.mark.parametrize("file", [*ENGINE, *DISTRIBUTED, *RESUME, *sorted(COLLECTIVE_WRITERS), *ASSEMBLED], ids=name_of)
def test_no_part_reads_the_private_attributes_of_another(file: Path) -> None:
    """A name with a leading underscore is read from ``self`` or ``cls`` only."""
    private = [
        f"line {node.lineno}: {ast.unparse(node)}"
        for node in attributes(file)
        if node.attr.startswith("_") and not node.attr.endswith("__") and node.attr != "_replace"  # a named tuple's own
        if not (isinstance(node.value, ast.Name) and node.value.id in ("self", "cls"))
    ]

    assert private == []


@pytest.mark.parametrize("file", [*ENGINE, *DISTRIBUTED, *ASSEMBLED], ids=name_of)
def test_no_part_passes_on_attributes_that_it_does_not_have(file: Path) -> None:
    """No ``__getattr__`` but one that only raises: what an object has can be read in its class."""
    functions = (node for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.FunctionDef))
    defined = [each.name for each in functions if not isinstance(each.body[0], ast.Raise)]

    assert not {"__getattr__", "__getattribute__"} & set(defined)


def is_of_group(node: ast.Attribute) -> bool:
    """Whether an attribute says which process this is, or of how many."""
    owner = ast.unparse(node.value).rpartition(".")[2].strip("_")
    if node.attr.strip("_") in RANK_NAMES:
        return owner != "run"
    return node.attr == "size" and owner in ("group", "ranks", "writer_group", "ranks()", "writer_group()")


@pytest.mark.parametrize("file", sorted({*CORE.rglob("*.py")} - HANDED_A_RANK - {*ASSEMBLED}), ids=name_of)
def test_nothing_else_asks_which_process_this_is(file: Path) -> None:
    """Nor takes it as an argument; what a plugin may read is ``run.rank``."""
    asked = [f"line {node.lineno}: {ast.unparse(node)}" for node in attributes(file) if is_of_group(node)]
    taken = [
        f"line {node.lineno}: {node.arg}"
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.arg) and node.arg.strip("_") in RANK_NAMES
    ]

    assert asked + taken == []


@pytest.mark.parametrize("file", [RUN, PARTS], ids=name_of)
def test_a_run_hands_the_rank_on_and_does_nothing_else_with_it(file: Path) -> None:
    """As the argument of a part, or as ``run.rank`` and ``run.world_size``: nothing is decided by it."""
    tree = ast.parse(file.read_text())
    handed_on = {
        id(value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        for value in [*node.args, *(each.value for each in node.keywords)]
    }
    published = ast.parse("self.rank, self.world_size = life.group.rank, life.group.size").body[0]
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and ast.dump(node) == ast.dump(published):
            handed_on |= {id(each) for each in ast.walk(node)}
    read = [node for node in ast.walk(tree) if isinstance(node, ast.Attribute) and is_of_group(node)]

    assert read
    assert [ast.unparse(node) for node in read if id(node) not in handed_on] == []


def test_the_files_that_are_handed_a_rank_exist_and_use_it() -> None:
    """A file that was moved, or no longer takes one, would be an exception without a subject."""
    for file in COLLECTIVE_WRITERS | RANK_STATES:
        assert any(node.attr.strip("_") in {*RANK_NAMES, "world_size"} for node in attributes(file)) or any(
            isinstance(node, ast.arg) and node.arg in RANK_NAMES for node in ast.walk(ast.parse(file.read_text()))
        ), file


@pytest.mark.parametrize("group", [Group, Solo, RankGroup], ids=lambda each: each.__name__)
def test_a_group_has_two_attributes_and_seven_methods(group: type) -> None:
    """What ranks share is inside the group, not in its interface."""
    methods = {name for name, each in vars(group).items() if inspect.isfunction(each) and not name.startswith("_")}

    assert methods == {"calls", "bind", "begin", "execute", "request_stop", "may_stop", "end"}
    assert {name for name in inspect.get_annotations(Group) if not name.startswith("_")} == {"rank", "size"}
