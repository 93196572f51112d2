"""Names of checkpoint files, from templates that cannot reach further than the numbers that they name.

What is filled in can neither leave the place that the template writes down nor make a name that a file system refuses.
"""

from __future__ import annotations

import glob
import hashlib
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ..errors import MissingMetric, SettingsError
from ..metrics.names import hint, resolve
from ..storage.atomic_file import suffix_of

__all__ = [
    "check_template",
    "glob_pattern",
    "render",
    "sibling_path",
    "suffix_in",
    "template_fields",
    "truncated_glob",
    "with_suffix",
]

_FIELD = re.compile(r"\{\{|\}\}|\{([^{}:!]*)(?:(![^{}:]*))?(?::([^{}]*))?\}|[{}]")
_SEPARATORS = re.compile(r"([/\\])")
_FORBIDDEN = '/\\:*?"<>|'
"""Separators, and what Windows gives a meaning."""
_SPEC = re.compile(r"[<>=^]?[-+ ]?#?0?\d{0,2}[,_]?(?:\.\d{1,2})?[bcdeEfFgGnoxX%]?")
_LONGEST = 240
"""Bytes of one part of a path: file systems take 255, of which the suffix of a manifest needs 14."""
_DIGITS = 8
"""Of the digest that tells names which are shortened."""
_DEVICES = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)[ .]*(\..*)?", re.IGNORECASE)
"""Names that are no files on Windows, with any suffix."""


def template_fields(template: str) -> list[str]:
    """The names between braces, in order.

    >>> template_fields("m-{epoch:02d}-{val_loss:.2f}{{x}}")
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


def render(template: str, values: Mapping[str, Any]) -> str:
    """The template with each field replaced by its value.

    The path stays in the directory that the template names. In values, separators and what is not printable become
    "_", and so do dots where they alone would be a part of the path; a part that a value has made too long is
    shortened, with a digest that tells it from others; one that is reserved gets a "_" in front.

    Raises:
        MissingMetric: a field names nothing that is known; the message has the nearest name.
        SettingsError: a value does not take its format.

    >>> render("m-{epoch:02d}-{val_loss:.2f}.pt", {"epoch": 3, "val_loss": 0.123})
    'm-03-0.12.pt'
    >>> render("runs/{name}/m.pt", {"name": ".."}), render("{name}.pt", {"name": "../../a"})
    ('runs/__/m.pt', '.._.._a.pt')
    """

    def value(match: re.Match[str]) -> str:
        if match[1] is None:
            return match[0][0]
        name = resolve(match[1], values)
        if name is None:
            near = hint(match[1], values)
            raise MissingMetric(f"{template!r}: {match[1]!r} is not known{near} known: {', '.join(values)}")
        try:
            text = format(values[name], match[3] or "")
        except (TypeError, ValueError) as error:
            raise SettingsError(f"{template!r}: {match[0]} does not fit {values[name]!r}: {error}") from None
        return "".join(each if each.isprintable() and each not in _FORBIDDEN else "_" for each in text)

    # values have no separators, so the parts of both are the same ones; those that differ were made by values
    written = _SEPARATORS.split(_FIELD.sub(lambda match: match[0][0] if match[1] is None else "0", template))
    filled = _SEPARATORS.split(_FIELD.sub(value, template))
    return "".join(part if part == plain else _sound(part) for plain, part in zip(written, filled, strict=True))


def sibling_path(template: str, stem: str, suffix: str) -> str:
    """A file of a fixed name in the template's directory: the innermost one without a field in its path.

    >>> sibling_path("runs/{epoch}/m-{step}.pt", "last", ".pt"), sibling_path("best.weights.h5", "last", ".weights.h5")
    ('runs/last.pt', 'last.weights.h5')
    """
    first = next((match.start() for match in _FIELD.finditer(template) if match[1] is not None), len(template))
    directory = max(template.rfind(separator, 0, first) for separator in ("/", os.sep)) + 1
    return render(template[:directory], {}) + stem + suffix


def glob_pattern(template: str) -> str:
    """What the names made from a template look like, for `glob`.

    >>> glob_pattern("runs[1]/m-{epoch:02d}-{val_loss:.2f}.pt")
    'runs[[]1]/m-*-*.pt'
    """
    found, end = "", 0
    for match in _FIELD.finditer(template):
        found += glob.escape(template[end : match.start()]) + (match[0][0] if match[1] is None else "*")
        end = match.end()
    return found + glob.escape(template[end:])


def truncated_glob(template: str) -> str:
    """What such names look like, without their suffix, that are too long for a file system; empty where none can be.

    >>> truncated_glob("runs/m-{val_loss:.2f}-{epoch}.pt")
    'runs/m-*~[0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f]'
    """
    plain = _FIELD.sub(lambda match: "0" * len(match[0]), template)
    name = max(plain.rfind(separator) for separator in ("/", os.sep)) + 1
    first = next((match.start() for match in _FIELD.finditer(template, name) if match[1] is not None), None)
    if first is None:
        return ""
    head = render(template[name:first], {}).encode()[: _LONGEST // 2].decode("utf-8", "ignore")
    return f"{glob_pattern(template[:name])}{glob.escape(head)}*~{'[0-9a-f]' * _DIGITS}"


def suffix_in(template: str) -> str:
    """The suffix that a template has, empty for none; dots inside braces begin none.

    >>> suffix_in("m-{val_loss:.2f}"), suffix_in("{epoch}.weights.h5")
    ('', '.weights.h5')
    """
    return suffix_of(Path(_FIELD.sub("0", template)))


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
    suffix = suffix_in(template)
    if suffix:
        raise SettingsError(f"{template!r}: {writer} cannot write {suffix}; it writes {', '.join(suffixes)}")
    return template + suffixes[0]


def _sound(part: str) -> str:
    """A part of a path that a value has made, as a name that every file system takes and nobody has reserved."""
    if not part.strip(". "):
        return "_" * max(len(part), 1)
    if _DEVICES.fullmatch(part) or part.startswith(".trainbus"):
        part = "_" + part
    whole = part.encode("utf-8", "surrogatepass")
    if len(whole) <= _LONGEST:
        return part
    suffix = suffix_of(Path(part))
    suffix = suffix if len(suffix) <= len(".weights.h5") and suffix.isascii() else ""
    end = "~" + hashlib.sha256(whole).hexdigest()[:_DIGITS] + suffix
    return whole[: _LONGEST - len(end)].decode("utf-8", "ignore") + end
