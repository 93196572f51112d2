"""Names of checkpoint files, from templates such as ``best-{epoch:02d}-{val_loss:.2f}.pt``.

Values cannot leave the directory that the template names, and cannot make a name that a file system refuses.
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

_FIELD = re.compile(r"\{\{|\}\}|\{([^{}:!]*)(?:(![^{}:]*))?(?::([^{}]*))?\}|[{}]")
_SEPARATORS = re.compile(r"([/\\])")
_FORBIDDEN = '/\\:*?"<>|'
"""Separators, and characters with a special meaning on Windows."""
_SPEC = re.compile(r"[<>=^]?[-+ ]?#?0?\d{0,2}[,_]?(?:\.\d{1,2})?[bcdeEfFgGnoxX%]?")
LONGEST = 240
"""Bytes of one part of a path: file systems allow 255, and the suffix of a manifest needs 14 of them."""
_DIGITS = 8
"""Digits of the digest that keeps shortened names apart."""
_DEVICES = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)[ .]*(\..*)?", re.IGNORECASE)
"""Names that Windows reserves for devices, with any suffix."""


def template_fields(template: str) -> list[str]:
    """Return the names between braces, in order.

    >>> template_fields("m-{epoch:02d}-{val_loss:.2f}{{x}}")
    ['epoch', 'val_loss']
    """
    return [match[1] for match in _FIELD.finditer(template) if match[1] is not None]


def check_template(template: str) -> str:
    """Return the template if numbers alone can fill it.

    Raises:
        ValueError: It is empty, accesses attributes or items, converts a value, or has a field without a name, a width
            over 99, or a single brace.

    >>> check_template("{epoch.__class__}.pt")
    Traceback (most recent call last):
        ...
    ValueError: {epoch.__class__}: a field is one name with a number format, like {epoch:02d} or {val_loss:.4f}
    """
    if not template or "\0" in template:
        raise ValueError("give the path of a file")
    for match in _FIELD.finditer(template):
        text, name = match[0], match[1]
        if text in ("{{", "}}"):
            continue
        if name is None:
            raise ValueError(f"a single {text}; write {text * 2} for the character itself")
        plain = name and not re.search(r"[.\[\]\s]|^\d*$", name) and not match[2]
        if not plain or not _SPEC.fullmatch(match[3] or ""):
            raise ValueError(
                f"{text}: a field is one name with a number format, like {{epoch:02d}} or {{val_loss:.4f}}"
            )
    return template


def render(template: str, values: Mapping[str, Any]) -> str:
    """Return the template with each field replaced by its value.

    The path stays in the directory that the template names. In values, separators and unprintable characters become
    "_", and so do dots that alone would form a part of the path. A part that a value makes too long is shortened and
    gets a digest that keeps it apart from others. A reserved name gets a leading "_".

    Raises:
        MissingMetric: A field names no known value; the message has the nearest name.
        SettingsError: A value does not fit its format.

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

    # values contain no separators, so the parts correspond; only parts with a field can differ
    written = _SEPARATORS.split(_FIELD.sub(lambda match: match[0][0] if match[1] is None else "0", template))
    filled = _SEPARATORS.split(_FIELD.sub(value, template))
    return "".join(part if part == plain else _safe_part(part) for plain, part in zip(written, filled, strict=True))


def sibling_path(template: str, stem: str, suffix: str) -> str:
    """Return the path of a file with a fixed name in the template's innermost directory without a field.

    >>> sibling_path("runs/{epoch}/m-{step}.pt", "last", ".pt"), sibling_path("best.weights.h5", "last", ".weights.h5")
    ('runs/last.pt', 'last.weights.h5')
    """
    first = next((match.start() for match in _FIELD.finditer(template) if match[1] is not None), len(template))
    directory = max(template.rfind(separator, 0, first) for separator in ("/", os.sep)) + 1
    return render(template[:directory], {}) + stem + suffix


def glob_pattern(template: str) -> str:
    """Return the ``glob`` pattern of the names that a template can make.

    >>> glob_pattern("runs[1]/m-{epoch:02d}-{val_loss:.2f}.pt")
    'runs[[]1]/m-*-*.pt'
    """
    found, end = "", 0
    for match in _FIELD.finditer(template):
        found += glob.escape(template[end : match.start()]) + (match[0][0] if match[1] is None else "*")
        end = match.end()
    return found + glob.escape(template[end:])


def truncated_glob(template: str) -> str:
    """Return the ``glob`` pattern of a template's shortened names, without their suffix; empty if there can be none.

    >>> truncated_glob("runs/m-{val_loss:.2f}-{epoch}.pt")
    'runs/m-*~[0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f]'
    """
    plain = _FIELD.sub(lambda match: "0" * len(match[0]), template)
    name = max(plain.rfind(separator) for separator in ("/", os.sep)) + 1
    first = next((match.start() for match in _FIELD.finditer(template, name) if match[1] is not None), None)
    if first is None:
        return ""
    head = render(template[name:first], {}).encode()[: LONGEST // 2].decode("utf-8", "ignore")
    return f"{glob_pattern(template[:name])}{glob.escape(head)}*~{'[0-9a-f]' * _DIGITS}"


def suffix_in(template: str) -> str:
    """Return the suffix of a template, empty for none; dots inside braces do not count.

    >>> suffix_in("m-{val_loss:.2f}"), suffix_in("{epoch}.weights.h5")
    ('', '.weights.h5')
    """
    return suffix_of(Path(_FIELD.sub("0", template)))


def with_suffix(template: str, suffixes: Iterable[str], writer: str) -> str:
    """Return the template with a suffix that ``writer`` can write; the first one is added if it has none.

    Raises:
        SettingsError: The template has another suffix.

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


def _safe_part(part: str) -> str:
    """Return a path part that contains values as a name that every file system accepts and that is not reserved."""
    if not part.strip(". "):
        return "_" * max(len(part), 1)
    if _DEVICES.fullmatch(part) or part.startswith(".trainbus"):
        part = "_" + part
    encoded = part.encode("utf-8", "surrogatepass")
    if len(encoded) <= LONGEST:
        return part
    suffix = suffix_of(Path(part))
    suffix = suffix if len(suffix) <= len(".weights.h5") and suffix.isascii() else ""
    end = "~" + hashlib.sha256(encoded).hexdigest()[:_DIGITS] + suffix
    return encoded[: LONGEST - len(end)].decode("utf-8", "ignore") + end
