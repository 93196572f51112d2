"""Settings files: a list of callbacks as TOML, for any framework."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple, cast

import tomli_w

from ..callback import Callback, find_conflicts
from ..errors import MissingDependency, SettingsError
from ..metrics.names import hint
from .registry import callback_from, installed
from .registry import load as load_installed
from .toml_lines import Lines, syntax_problem
from .toml_lines import Path as Place

__all__ = ["CALLBACKS", "Problem", "dumps", "find_problems", "load", "schema"]

CALLBACKS = "callbacks"
"""The one key of a settings file: an array of tables, each a callback and its options."""


class Problem(NamedTuple):
    """What is wrong in a settings file."""

    path: Path
    line: int
    column: int | None
    why: str

    def __str__(self) -> str:
        column = "" if self.column is None else f"{self.column}:"
        return f"{self.path}:{self.line}:{column} {self.why}"


def load(path: str | os.PathLike[str]) -> list[Callback]:
    """The callbacks that a settings file lists.

    Raises:
        SettingsError: naming every problem of the file, with its line.
    """
    callbacks, problems = _read(Path(path))
    if problems:
        raise SettingsError("\n".join(map(str, problems)))
    return callbacks


def find_problems(path: str | os.PathLike[str]) -> list[Problem]:
    """Every problem of a settings file, in the order of its lines.

    Raises:
        SettingsError: the file cannot be read.
    """
    return _read(Path(path))[1]


def dumps(callbacks: Iterable[Callback]) -> str:
    """The callbacks as the text of a settings file; options that are what they are by themselves are left out.

    Raises:
        SettingsError: one has a value that TOML cannot hold.

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
        if callback != type(callback)(**options):
            raise SettingsError(f"{callback!r} cannot be written as TOML, which has no None")
        table = {"callback": type(callback).__name__, **options}
        parts.append(
            "\n".join([f"[[{CALLBACKS}]]", *(f"{_key(name)} = {_value(each)}" for name, each in table.items())])
        )
    return "\n\n".join(parts) + "\n" if parts else f"{CALLBACKS} = []\n"


def schema() -> dict[str, Any]:
    """The JSON schema of settings files: every installed callback, with descriptions and defaults.

    >>> "patience" in schema()["definitions"]["EarlyStopping"]["properties"]
    True
    """
    definitions: dict[str, Any] = {}
    names: list[str] = []
    for name in installed("callbacks"):
        try:
            kind = load_installed("callbacks", name)
        except MissingDependency:  # what cannot be used needs no completion
            continue
        if not (isinstance(kind, type) and issubclass(kind, Callback)):
            continue
        made = kind.model_json_schema(ref_template=f"#/definitions/{name}.{{model}}")
        definitions |= {f"{name}.{inner}": each for inner, each in made.pop("$defs", {}).items()}
        named = {"const": name, "description": made.get("description", "").partition("\n")[0]}
        made["properties"] = {"callback": named, **made["properties"]}
        made["required"] = ["callback", *made.get("required", [])]
        definitions[name] = made
        names.append(name)
    items = {"oneOf": [{"$ref": f"#/definitions/{name}"} for name in names]}
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",  # the one that every editor's TOML support knows
        "title": "trainbus.toml",
        "description": "A list of callbacks for any training loop.",
        "type": "object",
        "properties": {CALLBACKS: {"type": "array", "description": "The callbacks, in their order.", "items": items}},
        "required": [CALLBACKS],
        "additionalProperties": False,
        "definitions": definitions,
    }


def _read(path: Path) -> tuple[list[Callback], list[Problem]]:
    text = _text(path)
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        line, column, why = syntax_problem(text, error)
        return [], [Problem(path, line, column, f"no TOML: {why}")]
    except RecursionError:
        return [], [Problem(path, 1, None, "no TOML that can be read: it is nested too deeply")]
    lines = Lines(text)
    made: list[tuple[int, Callback]] = []
    found = [*_structure(data), *_options(data, made)]
    found += [((CALLBACKS, made[number][0]), why) for number, why in find_conflicts([each for _, each in made])]
    problems = [Problem(path, lines.of(place), None, why) for place, why in found]
    return [each for _, each in made], sorted(problems, key=lambda each: each.line)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise SettingsError(f"{str(path)!r} is no text in UTF-8") from None
    except FileNotFoundError:
        near = hint(path.name, [each.name for each in path.parent.glob("*.toml")], otherwise="")
        raise SettingsError(f"{str(path)!r}: no such file{near}") from None
    except OSError as error:
        raise SettingsError(f"{str(path)!r} cannot be read: {error.strerror or error}") from None


def _structure(data: Mapping[str, Any]) -> Iterator[tuple[Place, str]]:
    for key in data:
        if key != CALLBACKS:
            yield (key,), f"{key}: no such key{hint(key, [CALLBACKS])} keys: {CALLBACKS}"
    if CALLBACKS not in data:
        yield (), f"no callbacks: begin each with a line [[{CALLBACKS}]]"
    elif not isinstance(data[CALLBACKS], list):
        yield (
            (CALLBACKS,),
            f"{CALLBACKS} is no list: begin each callback with a line [[{CALLBACKS}]], in double brackets",
        )


def _options(data: Mapping[str, Any], made: list[tuple[int, Callback]]) -> Iterator[tuple[Place, str]]:
    """What is wrong in each callback; those with which nothing is go to `made`."""
    tables: list[Any] = data[CALLBACKS] if isinstance(data.get(CALLBACKS), list) else []
    for number, table in enumerate(tables):
        place: Place = (CALLBACKS, number)
        if not isinstance(table, dict):
            yield place, f"{table!r} is no table: write callback = ... and its options below a line [[{CALLBACKS}]]"
            continue
        options = cast("dict[str, Any]", table)
        try:
            made.append((number, callback_from(options)))
        except (SettingsError, MissingDependency) as error:
            if isinstance(error, SettingsError) and error.problems:
                yield from (((*place, *option), f"{options['callback']}: {why}") for option, why in error.problems)
            else:
                yield (*place, "callback"), str(error)


def _key(name: str) -> str:
    return tomli_w.dumps({name: 0}).removesuffix(" = 0\n")


def _value(value: Any) -> str:
    """The value in one line, where tomli_w would begin tables."""
    if isinstance(value, Mapping):
        given = cast("Mapping[str, Any]", value)
        return f"{{{', '.join(f'{_key(name)} = {_value(each)}' for name, each in given.items())}}}"
    if isinstance(value, list):
        return f"[{', '.join(map(_value, cast('Any', value)))}]"
    return tomli_w.dumps({"value": value}).removeprefix("value = ").removesuffix("\n")
