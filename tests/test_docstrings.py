"""The examples in docstrings are true."""

import doctest
import importlib
import pkgutil

import pytest

import trainbus

MODULES = sorted(info.name for info in pkgutil.walk_packages(trainbus.__path__, "trainbus.") if not info.ispkg)


@pytest.mark.parametrize("name", MODULES)
def test_examples_in_docstrings_run(name: str) -> None:
    """Each example prints what its docstring says."""
    try:
        module = importlib.import_module(name)
    except trainbus.MissingDependency as missing:
        pytest.skip(str(missing))
    except ModuleNotFoundError as missing:  # of a framework that the demo can train with
        assert name.startswith("trainbus.cli.demo.")
        pytest.skip(str(missing))

    assert doctest.testmod(module, optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE).failed == 0
