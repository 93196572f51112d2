"""The examples in docstrings are true."""

import doctest
import importlib
import pkgutil

import pytest

import trainbus
import trainbus.adapters
import trainbus.plugins

MODULES = sorted(
    info.name
    for package in (trainbus, trainbus.adapters, trainbus.plugins)
    for info in pkgutil.iter_modules(package.__path__, f"{package.__name__}.")
    if not info.ispkg
)


@pytest.mark.parametrize("name", MODULES)
def test_examples_in_docstrings_run(name: str) -> None:
    """Each example prints what its docstring says."""
    module = importlib.import_module(name)

    assert doctest.testmod(module, optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE).failed == 0
