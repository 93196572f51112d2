"""Names of checkpoint files, from templates that cannot reach further than the numbers that they name."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from .errors import MissingMetric, SettingsError
from .files import suffix_of
from .names import nearest, resolve

__all__ = ["check_template", "fields", "fill", "with_suffix"]

_FIELD = re.compile(r"\{\{|\}\}|\{([^{}:!]*)(?:(![^{}:]*))?(?::([^{}]*))?\}|[{}]")
_SPEC = re.compile(r"[<>=^]?[-+ ]?#?0?\d{0,2}[,_]?(?:\.\d{1,2})?[bcdeEfFgGnoxX%]?")


def fields(template: str) -> list[str]:
    """The names between braces, in order.

    >>> fields("m-{epoch:02d}-{val_loss:.2f}{{x}}")
    ['epoch', 'val_loss']
    """
    return [match[1] for match in _FIELD.finditer(template) if match[1] is not None]


def check_template(template: str) -> str:
    """The template itself, where it can be filled from numbers alone.

    Raises:
        ValueError: it is empty, reaches into attributes or items, converts, has a field without a name, a width of
            over 99, or a brace alone.

    >>> check_template("{epoch.__class__}.pt")
    Traceback (most recent call last):
        ...
    ValueError: {epoch.__class__}: a field is one name with a number format, as {epoch:02d} or {val_loss:.4f}
    """
    if not template or "\0" in template:
        raise ValueError("give the path of a file")
    for match in _FIELD.finditer(template):
        text, name = match[0], match[1]
        if text in ("{{", "}}"):
            continue
        if name is None:
            raise ValueError(f"a brace alone; write {text * 2} for the character itself")
        sound = name and not re.search(r"[.\[\]\s]|^\d*$", name) and not match[2]
        if not sound or not _SPEC.fullmatch(match[3] or ""):
            raise ValueError(f"{text}: a field is one name with a number format, as {{epoch:02d}} or {{val_loss:.4f}}")
    return template


def fill(template: str, values: Mapping[str, Any]) -> str:
    """The template with each field replaced by its value.

    Raises:
        MissingMetric: a field names nothing that is known; the message has the nearest name.
        SettingsError: a value does not take its format.

    >>> fill("m-{epoch:02d}-{val_loss:.2f}.pt", {"epoch": 3, "val_loss": 0.123})
    'm-03-0.12.pt'
    """

    def value(match: re.Match[str]) -> str:
        if match[1] is None:
            return match[0][0]
        name = resolve(match[1], values)
        if name is None:
            near = nearest(match[1], values)
            hint = f"; did you mean {near!r}?" if near else "."
            raise MissingMetric(f"{template!r}: {match[1]!r} is not known{hint} known: {', '.join(values)}")
        try:
            text = format(values[name], match[3] or "")
        except (TypeError, ValueError) as error:
            raise SettingsError(f"{template!r}: {match[0]} does not fit {values[name]!r}: {error}") from None
        return text.replace("/", "_").replace("\\", "_")

    return _FIELD.sub(value, template)


def with_suffix(template: str, suffixes: Iterable[str], writer: str) -> str:
    """The template with the first of the suffixes that `writer` can write, unless it ends in one already.

    Raises:
        SettingsError: it ends in another suffix.

    >>> with_suffix("best-{val_loss:.2f}", [".pt"], "TorchSubject")
    'best-{val_loss:.2f}.pt'
    """
    suffixes = list(suffixes)
    plain = _FIELD.sub("0", template)
    if any(plain.endswith(suffix) for suffix in suffixes):
        return template
    suffix = suffix_of(Path(plain))
    if suffix:
        raise SettingsError(f"{template!r}: {writer} cannot write {suffix}; it writes {', '.join(suffixes)}")
    return template + suffixes[0]
