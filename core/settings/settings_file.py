"""Settings files: lists of callbacks in TOML."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple, cast

import tomli_w

from ..callback import Callback
from ..errors import MissingDependency, SettingsError
from ..limits import SETTINGS_BYTES, SETTINGS_LINE
from ..metrics.names import hint, hint_with_list
from ..storage.file_kind import check_regular
from . import registry
from .conflicts import find_conflicts
from .toml_lines import KeyPath, Lines, syntax_problem

CALLBACKS = "callbacks"
"""The only key of a settings file: an array of tables, each a callback and its options."""


class Problem(NamedTuple):
    """A mistake in a settings file."""

    path: Path
    line: int
    """The line, counted from 1, as is the column."""
    column: int | None
    why: str

    def __str__(self) -> str:
        column = "" if self.column is None else f"{self.column}:"
        return f"{self.path}:{self.line}:{column} {self.why}"


def load(path: str | os.PathLike[str]) -> list[Callback]:
    """Return the callbacks that a settings file lists.

    Args:
        path: The file.

    Raises:
        SettingsError: The file cannot be read or has mistakes; the message lists each mistake with its line.
    """
    callbacks, problems = _read(Path(path))
    if problems:
        raise SettingsError("\n".join(map(str, problems)))
    return callbacks


def find_problems(path: str | os.PathLike[str]) -> list[Problem]:
    """Return all problems of a settings file, in the order of its lines.

    Raises:
        SettingsError: The file cannot be read.
    """
    return _read(Path(path))[1]


def dumps(callbacks: Iterable[Callback]) -> str:
    """Return the callbacks as the text of a settings file, without options that have their default values.

    Args:
        callbacks: The callbacks, in order.

    Raises:
        SettingsError: An option has a value that TOML cannot represent.

    >>> from trainbus.plugins import EarlyStopping
    >>> print(dumps([EarlyStopping(patience=3)]))
    [[callbacks]]
    callback = "EarlyStopping"
    patience = 3
    <BLANKLINE>
    """
    parts: list[str] = []
    for callback in callbacks:
        options = callback.model_dump(mode="json", exclude_defaults=True, exclude_none=True)
        for name, value in options.items():
            if callable(getattr(callback, name)) and ":" not in str(value):  # no name to import it by
                raise SettingsError(
                    f"{type(callback).__name__}: {name}= is a function, which TOML cannot hold; list it in Python"
                )
        again = type(callback)(**options)
        if callback.model_dump(mode="json") != again.model_dump(mode="json"):
            none = ", ".join(name for name in callback.model_fields_set if getattr(callback, name) is None)
            raise SettingsError(f"{callback!r} cannot be written as TOML, which has no None; give {none} another value")
        table = {"callback": type(callback).__name__, **options}
        parts.append(
            "\n".join([f"[[{CALLBACKS}]]", *(f"{_key(name)} = {_value(each)}" for name, each in table.items())])
        )
    return "\n\n".join(parts) + "\n" if parts else f"{CALLBACKS} = []\n"


def schema() -> dict[str, Any]:
    """Return the JSON schema of settings files: every installed callback, with descriptions and defaults.

    >>> "patience" in schema()["definitions"]["EarlyStopping"]["properties"]
    True
    """
    definitions: dict[str, Any] = {}
    names: list[str] = []
    for name in registry.installed("callbacks"):
        try:
            kind = registry.load("callbacks", name)
        except MissingDependency:  # editors need not complete a callback that cannot be used
            continue
        if not (isinstance(kind, type) and issubclass(kind, Callback)):
            continue
        definition = kind.model_json_schema(ref_template=f"#/definitions/{name}.{{model}}")
        definitions |= {f"{name}.{inner}": each for inner, each in definition.pop("$defs", {}).items()}
        named = {"const": name, "description": definition.get("description", "").partition("\n")[0]}
        definition["properties"] = {"callback": named, **definition["properties"]}
        definition["required"] = ["callback", *definition.get("required", [])]
        definitions[name] = definition
        names.append(name)
    items = {"oneOf": [{"$ref": f"#/definitions/{name}"} for name in names]}
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",  # the TOML support of all editors understands this draft
        "title": "trainbus.toml",
        "description": "A list of callbacks for any training loop.",
        "type": "object",
        "properties": {CALLBACKS: {"type": "array", "description": "The callbacks, in order.", "items": items}},
        "required": [CALLBACKS],
        "additionalProperties": False,
        "definitions": definitions,
    }


def _read(path: Path) -> tuple[list[Callback], list[Problem]]:
    text = _text(path)
    for number, written in enumerate(text.split("\n"), start=1):
        if len(written) > SETTINGS_LINE:
            return [], [
                Problem(path, number, None, f"the line has {len(written):,} characters; the limit is {SETTINGS_LINE:,}")
            ]
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        line, column, why = syntax_problem(text, error)
        return [], [Problem(path, line, column, f"invalid TOML: {why}")]
    except RecursionError:
        return [], [Problem(path, 1, None, "invalid TOML: nested too deeply")]
    lines = Lines(text)
    made: list[tuple[int, Callback]] = []
    found = [*_structure(data), *_options(data, made)]
    found += [((CALLBACKS, made[number][0]), why) for number, why in find_conflicts([each for _, each in made])]
    problems = [Problem(path, lines.of(place), None, why) for place, why in found]
    return [each for _, each in made], sorted(problems, key=lambda each: each.line)


def _text(path: Path) -> str:
    try:
        check_regular(path)
        size = path.stat().st_size
        if size > SETTINGS_BYTES:
            raise SettingsError(f"{str(path)!r} has {size:,} bytes; a settings file has at most {SETTINGS_BYTES:,}")
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise SettingsError(f"{str(path)!r} is not UTF-8 text") from None
    except FileNotFoundError:
        near = hint(path.name, [each.name for each in path.parent.glob("*.toml")], otherwise="")
        raise SettingsError(f"{str(path)!r}: no such file{near}") from None
    except OSError as error:
        raise SettingsError(f"{str(path)!r} cannot be read: {error.strerror or error}") from None


def _structure(data: Mapping[str, Any]) -> Iterator[tuple[KeyPath, str]]:
    for key in data:
        if key != CALLBACKS:
            yield (key,), f"{key}: unknown key{hint_with_list(key, [CALLBACKS], 'keys')}"
    if CALLBACKS not in data:
        yield (), f"no callbacks: begin each one with a line [[{CALLBACKS}]]"
    elif not isinstance(data[CALLBACKS], list):
        yield (
            (CALLBACKS,),
            f"{CALLBACKS} is not a list: begin each callback with a line [[{CALLBACKS}]], in double brackets",
        )


def _options(data: Mapping[str, Any], made: list[tuple[int, Callback]]) -> Iterator[tuple[KeyPath, str]]:
    """Yield the problems of the callbacks; append those without a problem, with their index, to ``made``."""
    tables: list[Any] = data[CALLBACKS] if isinstance(data.get(CALLBACKS), list) else []
    for number, table in enumerate(tables):
        place: KeyPath = (CALLBACKS, number)
        if not isinstance(table, dict):
            yield place, f"{table!r} is not a table: write callback = ... and its options below a line [[{CALLBACKS}]]"
            continue
        options = cast("dict[str, Any]", table)
        try:
            made.append((number, registry.callback_from(options)))
        except (SettingsError, MissingDependency) as error:
            if isinstance(error, SettingsError) and error.problems:
                yield from (((*place, *option), f"{options['callback']}: {why}") for option, why in error.problems)
            else:
                yield (*place, "callback"), str(error)


def _key(name: str) -> str:
    return tomli_w.dumps({name: 0}).removesuffix(" = 0\n")


def _value(value: Any) -> str:
    """Format a value in one line, since tomli_w would write a mapping as a table."""
    if isinstance(value, Mapping):
        given = cast("Mapping[str, Any]", value)
        return f"{{{', '.join(f'{_key(name)} = {_value(each)}' for name, each in given.items())}}}"
    if isinstance(value, list):
        return f"[{', '.join(map(_value, cast('Any', value)))}]"
    return tomli_w.dumps({"value": value}).removeprefix("value = ").removesuffix("\n")
