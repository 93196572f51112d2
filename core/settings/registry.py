"""The installed callbacks, adapters and plugins; loading one by name imports it."""

from __future__ import annotations

import ast
import importlib.metadata
import importlib.util
import os
import sys
from collections.abc import Iterable, Mapping
from contextlib import suppress
from functools import lru_cache
from importlib.util import resolve_name
from pathlib import Path
from typing import Any, Literal

from ..callback import Callback
from ..errors import MissingDependency, SettingsError, UnknownName
from ..metrics.names import hint_with_list
from .built_in import DISTRIBUTION, built_in

Group = Literal["callbacks", "adapters", "bindings", "plugins", "readers"]

ENVIRONMENT = "TRAINBUS_PLUGINS"
"""Environment variable with a comma-separated list of plugins and callbacks that every run adds to its own."""


def installed(group: Group) -> dict[str, importlib.metadata.EntryPoint]:
    """Return name to entry point of all installed objects in the group, sorted by name, without importing them.

    Args:
        group: The entry-point group, without the prefix ``trainbus.``.

    Raises:
        SettingsError: Two packages define different objects under one name.

    >>> "EarlyStopping" in installed("callbacks")
    True
    """
    found: dict[str, importlib.metadata.EntryPoint] = {}
    for point in _entry_points(_import_path(), f"trainbus.{group}"):
        other = found.setdefault(point.name, point)
        if other.value != point.value:
            packages = " and ".join(package_of(each) for each in (other, point))
            raise SettingsError(f"{packages} both define {point.name!r} in trainbus.{group}; uninstall one of them")
    return found


def _import_path() -> tuple[tuple[str, float], ...]:
    """Return the directories of installed packages, each with the time of the last installation there."""
    return tuple((place, os.stat(place).st_mtime) for place in sys.path if os.path.isdir(place))  # noqa: PTH116, PTH112


@lru_cache(maxsize=16)
def _entry_points(_: object, group: str) -> list[importlib.metadata.EntryPoint]:
    """Return the entry points of a group, sorted by name; reading them takes milliseconds in a large environment.

    The entry points of trainbus itself come from its code, since its metadata may be missing or from another version.
    """
    others = (point for point in importlib.metadata.entry_points(group=group) if package_of(point) != DISTRIBUTION)
    return sorted([*built_in(group), *others], key=lambda point: point.name)


def package_of(point: importlib.metadata.EntryPoint) -> str:
    """Return the name of the distribution that defines an entry point.

    >>> package_of(installed("callbacks")["EarlyStopping"])
    'trainbus'
    """
    return DISTRIBUTION if point.dist is None else str(point.dist.name)


def summary(point: importlib.metadata.EntryPoint) -> str:
    """Return the first line of the docstring of an entry point's object, without importing it.

    >>> summary(installed("callbacks")["EarlyStopping"])
    'Stop when the monitored metric has not improved ...'
    """
    return _summary(point.module, point.attr)


def _summary(module: str, name: str) -> str:
    source, package = _source(module)
    try:
        statements = ast.parse(source).body
    except (SyntaxError, ValueError):  # the module is compiled, or written for a later Python
        return ""
    tried = [each for node in statements if isinstance(node, ast.Try) for each in node.body]  # imports of a framework
    for node in (*statements, *tried):
        if isinstance(node, (ast.ClassDef, ast.FunctionDef)) and node.name == name:
            return (ast.get_docstring(node) or "").partition("\n")[0]
        if isinstance(node, ast.ImportFrom):  # as in the __init__.py of a package
            for each in node.names:
                if name == (each.asname or each.name):
                    return _summary(resolve_name("." * node.level + (node.module or ""), package), each.name)
    return ""


def _source(module: str) -> tuple[bytes, str]:
    """Return the source of a module (empty if there is none) and the package to which its relative imports refer."""
    package, *inner = module.split(".")
    spec = importlib.util.find_spec(package)  # finding the outermost package imports nothing
    read = getattr(spec and spec.loader, "get_data", None)  # the loader of a zip file also has this method
    if spec is None or spec.origin is None or read is None or not spec.origin.endswith(".py"):
        return b"", ""
    path = Path(spec.origin).parent.joinpath(*inner)
    parent = module.rpartition(".")[0]
    files = [(path.with_suffix(".py"), parent), (path / "__init__.py", module)]
    if not inner:
        files = [(Path(spec.origin), module if spec.submodule_search_locations is not None else "")]
    for file, its_package in files:
        with suppress(OSError):
            return read(str(file)), its_package
    return b"", ""


def load(group: Group, name: str) -> Any:
    """Import and return the installed object with this name.

    Args:
        group: The entry-point group, without the prefix ``trainbus.``.
        name: The name in that group.

    Raises:
        UnknownName: No object with this name is installed; the message suggests the nearest name.
        MissingDependency: The module of the object imports a package that is not installed.

    >>> load("callbacks", "EarlyStopping").__name__
    'EarlyStopping'
    """
    known = installed(group)
    if name not in known:
        raise UnknownName(f"{name!r} is not installed{hint_with_list(name, known, f'trainbus.{group}')}")
    try:
        return known[name].load()
    except MissingDependency:
        raise
    except ImportError as error:
        package = known[name].module.partition(".")[0]
        way = f"; freeze it with --collect-all {package}" if getattr(sys, "frozen", False) else ""
        raise MissingDependency(f"{name!r} ({known[name].value}) cannot be imported: {error}{way}") from error


def callbacks_from(settings: Iterable[Mapping[str, Any]]) -> list[Callback]:
    """Make callbacks from plain data, as in JSON or TOML files.

    Args:
        settings: One mapping for each callback, with the name of its class under "callback" and its options.

    Raises:
        SettingsError: The list has problems; the message lists all of them.

    >>> callbacks_from([{"callback": "EarlyStopping", "patience": 3}])[0].patience
    3
    """
    made: list[Callback] = []
    problems: list[str] = []
    for number, options in enumerate(settings, start=1):
        try:
            made.append(callback_from(options))
        except SettingsError as error:
            problems.append(f"callback {number}: {error}")
    if problems:
        raise SettingsError("\n".join(problems))
    return made


def callback_from(settings: Mapping[str, Any]) -> Callback:
    """Make one callback from plain data.

    Args:
        settings: The name of the callback's class under "callback", and its options.

    Raises:
        SettingsError: The key "callback" is missing, the class is not a callback, or an option is invalid.
    """
    options = dict(settings)
    name = options.pop("callback", None)
    if not isinstance(name, str):
        raise SettingsError(
            f"the key 'callback' with the name of a callback is required; keys: {', '.join(settings) or 'none'}"
        )
    made = load("callbacks", name)(**options)
    if not isinstance(made, Callback):
        raise SettingsError(f"{name!r} makes a {type(made).__name__}, which is not a trainbus.Callback")
    return made


def named_plugin(name: str) -> object:
    """Make a callback or plugin by its name.

    Raises:
        UnknownName: No callback and no plugin with this name is installed.
    """
    groups: tuple[Group, ...] = ("callbacks", "plugins")
    for group in groups:
        if name in installed(group):
            found = load(group, name)
            return found() if callable(found) else found
    known = [*installed("callbacks"), *installed("plugins")]
    raise UnknownName(f"{name!r} is not installed{hint_with_list(name, known, 'callbacks and plugins')}")


def plugins_of_environment() -> list[str]:
    """Return the names in the environment variable ``TRAINBUS_PLUGINS``."""
    return [name.strip() for name in os.environ.get(ENVIRONMENT, "").split(",") if name.strip()]
