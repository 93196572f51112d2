"""Which callbacks, adapters and plugins are installed; imports none of them until it is asked for by name."""

from __future__ import annotations

import ast
import importlib.metadata
import importlib.util
import inspect
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

from ..callback import Callback
from ..errors import MissingDependency, SettingsError, UnknownName
from ..metrics.names import hint

__all__ = [
    "Group",
    "callback_from",
    "callbacks_from",
    "installed",
    "load",
    "named_plugin",
    "plugins_of_environment",
    "subject_for",
    "summary",
]

Group = Literal["callbacks", "adapters", "plugins"]

ENVIRONMENT = "TRAINBUS_PLUGINS"
"""Environment variable that lists, separated by commas, plugins and callbacks to run beside those of the loop."""


def installed(group: Group) -> dict[str, importlib.metadata.EntryPoint]:
    """Name to entry point of all that is installed in the group, sorted by name; nothing is imported.

    Raises:
        SettingsError: two packages offer different things under one name.

    >>> "EarlyStopping" in installed("callbacks")
    True
    """
    found: dict[str, importlib.metadata.EntryPoint] = {}
    for point in sorted(importlib.metadata.entry_points(group=f"trainbus.{group}"), key=lambda point: point.name):
        other = found.setdefault(point.name, point)
        if other.value != point.value:
            packages = " and ".join(str(each.dist and each.dist.name) for each in (other, point))
            raise SettingsError(f"{packages} both offer {point.name!r} in trainbus.{group}; uninstall one of them")
    return found


def summary(point: importlib.metadata.EntryPoint) -> str:
    """The first sentence that the source says of what an entry point names, read without importing it.

    >>> summary(installed("callbacks")["EarlyStopping"])
    'Stop when the monitored metric has not improved for `patience` epochs.'
    """
    source = _source(point.module)
    for node in ast.parse(source.read_text(encoding="utf-8")).body if source else ():
        if isinstance(node, (ast.ClassDef, ast.FunctionDef)) and node.name == point.attr:
            return (ast.get_docstring(node) or "").partition("\n")[0]
    return ""


def _source(module: str) -> Path | None:
    package, *inner = module.split(".")
    spec = importlib.util.find_spec(package)  # finding the outermost package imports nothing
    if spec is None or spec.origin is None:
        return None
    path = Path(spec.origin).parent.joinpath(*inner)
    files = [path.with_suffix(".py"), path / "__init__.py"] if inner else [Path(spec.origin)]
    return next(filter(Path.is_file, files), None)


def load(group: Group, name: str) -> Any:
    """Import what `name` stands for.

    Raises:
        UnknownName: nothing of that name is installed; the message has the nearest name.
        MissingDependency: its package lacks something that it imports.

    >>> load("callbacks", "EarlyStopping").__name__
    'EarlyStopping'
    """
    known = installed(group)
    if name not in known:
        near = hint(name, known)
        raise UnknownName(f"{name!r} is not installed{near} trainbus.{group}: {', '.join(known) or 'none'}")
    try:
        return known[name].load()
    except MissingDependency:
        raise
    except ImportError as error:
        raise MissingDependency(f"{name!r} ({known[name].value}) cannot be imported: {error}") from error


def callbacks_from(settings: Iterable[Mapping[str, Any]]) -> list[Callback]:
    """Callbacks from plain data, as JSON or TOML give it: a mapping each, its key "callback" naming the class.

    Raises:
        SettingsError: naming every problem of the whole list.

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
    """One callback from plain data.

    Raises:
        SettingsError: something is wrong.
    """
    options = dict(settings)
    name = options.pop("callback", None)
    if not isinstance(name, str):
        raise SettingsError(f"no key 'callback' with the name of one; keys: {', '.join(settings) or 'none'}")
    made = load("callbacks", name)(**options)
    if not isinstance(made, Callback):
        raise SettingsError(f"{name!r} makes a {type(made).__name__}, which is no trainbus.Callback")
    return made


def named_plugin(name: str) -> object:
    """A new callback or plugin of this name.

    Raises:
        UnknownName: it is neither among the installed callbacks nor among the plugins.
    """
    if name in installed("callbacks"):
        return load("callbacks", name)()
    if name in installed("plugins"):
        found = load("plugins", name)
        return found() if callable(found) else found
    known = [*installed("callbacks"), *installed("plugins")]
    near = hint(name, known)
    raise UnknownName(f"{name!r} is not installed{near} callbacks and plugins: {', '.join(known) or 'none'}")


def plugins_of_environment() -> list[str]:
    """The names in the environment variable TRAINBUS_PLUGINS."""
    return [name.strip() for name in os.environ.get(ENVIRONMENT, "").split(",") if name.strip()]


def subject_for(model: object, *rest: Any, **options: Any) -> object:
    """What `model` is as a subject, by the adapter for its type.

    An adapter's entry point has the name of the package that defines the types it adapts. The first class in the
    model's line of ancestors whose package has an adapter decides, so a Keras model that is a torch module too is
    Keras's. An object of no such type is taken to be a subject itself.

    Raises:
        SettingsError: further arguments were given that the adapter does not take, or for an object that none takes.
    """
    known = installed("adapters")
    for ancestor in type(model).__mro__:
        package = ancestor.__module__.partition(".")[0]
        if package in known:
            adapter = load("adapters", package)
            try:
                inspect.signature(adapter).bind(model, *rest, **options)
            except TypeError as error:
                raise SettingsError(_unbound(adapter, options, error)) from None
            return adapter(model, *rest, **options)
    if rest or options:
        raise SettingsError(
            f"no adapter takes a {type(model).__name__} with further arguments; adapters: {', '.join(known) or 'none'}"
        )
    return model


def _unbound(adapter: Any, options: Iterable[str], error: TypeError) -> str:
    known = list(inspect.signature(adapter).parameters)
    hints = "".join(hint(option, known, otherwise="") for option in options if option not in known)
    return f"{adapter.__name__}: {error}{hints} It takes {', '.join(known)}"
