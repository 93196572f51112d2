"""The settings of a run, as trackers and scripts write them beside it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain, islice
from pathlib import Path
from typing import Any, Final, cast

from ....errors import SettingsError
from ....limits import NESTING, SETTINGS_BYTES

MOST: Final = 10_000
"""Settings of one run; further ones are left out."""
_MERGE: Final = b"<<"
"""The key by which a mapping takes over others; a few lines of them may stand for gigabytes, also for a safe loader."""
_DAMAGES: Final = (OSError, ValueError, RecursionError, AttributeError, LookupError, TypeError)
"""What reading may raise; the last three are PyYAML's, for a text with the tag of another type."""
_WRAPPED: Final = {"value", "desc"}
"""The keys of each setting in the ``config.yaml`` of Weights & Biases."""


def flattened(settings: object) -> dict[str, object]:
    """Return settings inside settings with the names of all of them, as ``model/depth``.

    >>> flattened({"lr": 0.1, "model": {"depth": 3, "widths": [4, 4]}, "seed": {"value": 1, "desc": None}})
    {'lr': 0.1, 'model/depth': 3, 'model/widths': [4, 4], 'seed': 1}
    """
    return dict(islice(_leaves(settings, ""), MOST))


def _leaves(settings: object, name: str, depth: int = 0) -> Iterator[tuple[str, object]]:
    if isinstance(settings, Mapping) and depth < NESTING:
        inside: Mapping[Any, Any] = cast("Any", settings)  # mypy and pyright infer different types
        if name and "value" in inside and _WRAPPED.issuperset(inside):
            yield name, inside["value"]
            return
        for key, value in inside.items():
            yield from _leaves(value, f"{name}/{key}" if name else str(key), depth + 1)
    elif name:
        yield name, settings


def read_settings(path: Path, notes: list[str]) -> dict[str, object]:
    """Return the settings in a YAML or JSON file; none if there is no such file, or if it holds no mapping.

    Args:
        path: The file.
        notes: Receives a sentence if the file cannot be read; the run itself can.

    >>> read_settings(Path("no-such-file.yaml"), [])
    {}
    """
    if not path.is_file():
        return {}
    try:
        content = _content(path)
    except _DAMAGES as error:
        why = str(getattr(error, "strerror", None) or error).partition("\n")[0] or type(error).__name__
        notes.append(f"The settings in {path.name} are not read: {why}.")
        return {}
    return flattened(cast("object", content)) if isinstance(content, Mapping) else {}


def _content(path: Path) -> object:
    """Return the data in a file.

    Raises:
        OSError: It cannot be read.
        ValueError: It is damaged or too large, or the library that reads it is not installed.
    """
    with path.open("rb") as file:
        text = file.read(SETTINGS_BYTES + 1)
    if len(text) > SETTINGS_BYTES:
        raise SettingsError(f"it has more than {SETTINGS_BYTES:,} bytes")
    content = json.loads(text) if path.suffix == ".json" else _parse_yaml(text)
    _check_size(content)
    return content


def _parse_yaml(text: bytes) -> object:
    try:
        import yaml  # noqa: PLC0415 - wanted only where there is such a file
    except ImportError:
        raise SettingsError("pip install 'trainbus[yaml]'") from None

    safe: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the one in C is 10 times faster

    class Loader(safe):  # type: ignore[misc]
        """Constructs plain data only; an object of Python, as Lightning writes some, is read as its data."""

    def construct(loader: Any, _: str, node: Any) -> object:
        if isinstance(node, yaml.MappingNode):
            return loader.construct_mapping(node, deep=True)
        return loader.construct_sequence(node, deep=True) if isinstance(node, yaml.SequenceNode) else node.value

    if _MERGE in text:
        raise SettingsError(f"it has the merge key {_MERGE.decode()!r}")
    loader: Any = Loader
    for tags in ("!", "tag:yaml.org,2002:python/"):
        loader.add_multi_constructor(tags, construct)
    try:
        return cast("object", yaml.load(text, loader))
    except yaml.YAMLError as error:
        raise SettingsError(str(error)) from None


def _check_size(content: object) -> None:
    """Check the number of values in data in which a value may occur many times, or contain itself.

    Raises:
        SettingsError: There are too many.
    """
    waiting, count = [content], 0
    while waiting:
        value = waiting.pop()
        inside: Iterable[object] = ()
        if isinstance(value, Mapping):
            inside = chain.from_iterable(cast("Any", value).items())
        elif isinstance(value, (list, tuple)):
            inside = cast("Any", value)
        before = len(waiting)
        waiting += islice(inside, MOST)
        count += len(waiting) - before
        if count > MOST:
            raise SettingsError(f"it has more than {MOST:,} values")
