"""Names of checkpoint files, from templates such as ``best-{epoch:02d}-{val_loss:.2f}.pt``.

Values cannot leave the directory that the template names, and cannot make a name that a file system refuses.
"""

from __future__ import annotations

import glob
import hashlib
import math
import os
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from ...errors import MissingMetric, SettingsError
from ...metrics.names import canonical, hint, resolve
from .suffix import check_suffix, suffix_at_end

_FIELD = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")
_SEPARATORS = re.compile(r"([/\\])")
_FORBIDDEN = '/\\:*?"<>|'
"""Separators, and characters with a special meaning on Windows."""
_SPEC = re.compile(r"[<>=^]?[-+ ]?#?0?\d{0,2}[,_]?(?:\.\d{1,2})?[bcdeEfFgGnoxX%]?")
_FORMAT_LIKE = re.compile(r"[^A-Za-z][\w<>=^+\-#,.% ]*|.?", re.ASCII)
"""A text that must be a number format: "{loss:.2q}" is a mistake, but "{AP@[0.5:0.95]}" a name."""
_NO_FIELD = re.compile(r"\s*\d*\s*|.*(![rsa]|\.__\w*)|(epoch0?|batch|step)[.\[].*", re.DOTALL)
"""Not the name of a metric: ``str.format`` reads it as a position, a conversion or an attribute."""
COUNTERS = ("epoch", "epoch0", "batch", "step")
"""Fields that are no metrics; "epoch0" counts from 0, the others from 1."""
_INTEGER = frozenset("bcdoxX")
_DIGIT_FIRST = re.compile(r"(0\d?)?d?")
"""Formats with which a counter begins with a digit: no sign, no spaces."""
_WITHOUT_DIGITS = ("c", "x", "X")
"""Types of format with which a number may have no decimal digit."""
_REAL_TYPES = frozenset("eEfFgG%")
"""Types of format that show integers only."""
_REAL = re.compile(
    r"(.*_)?(loss|accuracy|auc|precision|recall|mse|rmse|mae|mape|iou|dice|bleu|ppl|psnr|ssim|rate|f_1|r_2)(_.*)?"
)
"""Canonical names of metrics that are no integers."""
_EXACT = 2**53
"""Integers below this are exact in double precision."""
LONGEST = 240
"""Bytes of one part of a path: file systems allow 255, and the name of a manifest needs 14 of them."""
_DIGITS = 8
"""Digits of the digest that makes shortened names unique."""
_DEVICES = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)[ .]*(\..*)?", re.IGNORECASE)
"""Names that Windows reserves for devices, with any suffix."""


def template_fields(template: str) -> list[str]:
    """Return the names between braces, in order.

    >>> template_fields("m-{epoch:02d}-{val/mAP@0.50:.2f}{{x}}")
    ['epoch', 'val/mAP@0.50']
    """
    return [_name_and_format(match[1])[0] for match in _FIELD.finditer(template) if match[1] is not None]


def check_template(template: str) -> str:
    """Return the template if numbers can fill all of its fields.

    Raises:
        ValueError: It is empty, accesses an attribute, converts a value, or has a single brace, a field without a name,
            or a format that no value of its field can have.

    >>> check_template("{epoch!r}.pt")
    Traceback (most recent call last):
        ...
    ValueError: {epoch!r}: a field is one name with a number format, like {epoch:02d} or {val/mAP@0.5:.4f}
    >>> check_template("{val_loss:03d}.pt")
    Traceback (most recent call last):
        ...
    ValueError: {val_loss:03d}: val_loss is not an integer, as this format requires; write {val_loss:.4f}
    """
    if not template or "\0" in template:
        raise ValueError("give the path of a file")
    for match in _FIELD.finditer(template):
        text = match[0]
        if text in ("{{", "}}"):
            continue
        if match[1] is None:
            raise ValueError(f"a single {text}; write {text * 2} for the character itself")
        name, form = _name_and_format(match[1])
        if _NO_FIELD.fullmatch(name) or not _SPEC.fullmatch(form):
            raise ValueError(
                f"{text}: a field is one name with a number format, like {{epoch:02d}} or {{val/mAP@0.5:.4f}}"
            )
        if name not in COUNTERS and form[-1:] in _INTEGER and _REAL.fullmatch(canonical(name)):
            raise ValueError(f"{text}: {name} is not an integer, as this format requires; write {{{name}:.4f}}")
        if not _fits(1, form) and (name in COUNTERS or not _fits(0.5, form)):
            fits = f"{name}:02d" if name in COUNTERS else f"{name}:.4f"
            raise ValueError(f"{text}: no number can be formatted as {form!r}; write {{{fits}}}")
    return template


def _name_and_format(field: str) -> tuple[str, str]:
    """Split a field at its last colon, unless the colon is part of the name.

    >>> [_name_and_format(field) for field in ("loss:.2f", "val:loss", "val:loss:.2f", "top:1:")]
    [('loss', '.2f'), ('val:loss', ''), ('val:loss', '.2f'), ('top:1', '')]
    """
    name, colon, form = field.rpartition(":")
    return (name, form) if colon and (_SPEC.fullmatch(form) or _FORMAT_LIKE.fullmatch(form)) else (field, "")


def _fits(number: float, form: str) -> bool:
    try:
        format(number, form)
    except ValueError:
        return False
    return True


def _formatted(value: Any, form: str) -> str:
    """Return a value in a number format; whole numbers without a point, unless the format asks for it.

    >>> _formatted(3.0, ""), _formatted(3.0, "03"), _formatted(3.0, "+,"), _formatted(3.0, ".1f"), _formatted(2.5, "")
    ('3', '003', '+3', '3.0', '2.5')
    """
    whole = "." not in form and form[-1:] not in _REAL_TYPES
    if whole and hasattr(value, "is_integer"):
        if value != value or abs(value) == math.inf:  # an epoch without a value
            return str(value)
        if value.is_integer() and abs(value) < _EXACT:
            value = int(value)
    return format(value, form)


def render(template: str, values: Mapping[str, Any], report: Callable[[str], object] | None = None) -> str:
    """Return the template with each field replaced by its value.

    The path stays in the directory that the template names. In values, separators and unprintable characters become
    "_", and so do dots that alone would form a part of the path. If a value makes a part too long, the part is
    shortened and gets a digest that makes it unique. A reserved name gets a leading "_".

    Args:
        template: The template.
        values: Name to value of each field.
        report: Is called with one line for a number that does not fit its format, such as a fraction in a format of
            integers; the path then has it without a format. None raises an error instead.

    Raises:
        MissingMetric: A field names no known value; the message has the nearest name.
        SettingsError: A value does not fit its format, and there is no ``report``.

    >>> render("m-{epoch:02d}-{val_loss:.2f}.pt", {"epoch": 3, "val_loss": 0.123})
    'm-03-0.12.pt'
    >>> render("runs/{name}/m.pt", {"name": ".."}), render("{name}.pt", {"name": "../../a"})
    ('runs/__/m.pt', '.._.._a.pt')
    """

    def value(match: re.Match[str]) -> str:
        if match[1] is None:
            return match[0][0]
        field, form = _name_and_format(match[1])
        name = resolve(field, values)
        if name is None:
            near = hint(field, values)
            raise MissingMetric(f"{template!r}: {field!r} is not known{near} known: {', '.join(values)}")
        try:
            text = _formatted(values[name], form)
        except (TypeError, ValueError, OverflowError):
            problem = f"{template!r}: {match[0]} does not fit {values[name]!r}; write {{{field}:.4f}} for any number"
            if report is None:
                raise SettingsError(problem) from None
            report(problem)
            text = _formatted(values[name], "")
        return "".join(each if each.isprintable() and each not in _FORBIDDEN else "_" for each in text)

    # values contain no separators, so the parts correspond; only parts with a field can differ
    written = _SEPARATORS.split(_FIELD.sub(lambda match: match[0][0] if match[1] is None else "0", template))
    filled = _SEPARATORS.split(_FIELD.sub(value, template))
    return "".join(part if part == plain else _safe_part(part) for plain, part in zip(written, filled, strict=True))


def sibling_path(template: str, stem: str, suffix: str) -> str:
    """Return the path of a file with a fixed name in the template's deepest directory without a field.

    >>> sibling_path("runs/{epoch}/m-{step}.pt", "last", ".pt"), sibling_path("best.weights.h5", "last", ".weights.h5")
    ('runs/last.pt', 'last.weights.h5')
    """
    return render(_directory_in(template), {}) + stem + suffix


def sibling_template(template: str, name: str, suffix: str) -> str:
    """Return the template of a file beside those of a template, whose name may have fields.

    >>> sibling_template("a{{b}}/{epoch}/m", "last-{step}", ".pt")
    'a{{b}}/last-{step}.pt'
    """
    return _directory_in(template) + name + suffix


def _directory_in(template: str) -> str:
    """Return the template's deepest directory without a field, with its separator."""
    first = next((match.start() for match in _FIELD.finditer(template) if match[1] is not None), len(template))
    return template[: max(template.rfind(separator, 0, first) for separator in ("/", os.sep)) + 1]


def glob_pattern(template: str) -> str:
    """Return the ``glob`` pattern of the names that a template can make.

    A counter has a digit, mostly as the first character, so that a file or a directory with another name can belong to
    another run, or to the user.

    >>> glob_pattern("runs[1]/m-{epoch:02d}-{val_loss:.2f}.pt"), glob_pattern("{val_loss}/{epoch}/m")
    ('runs[[]1]/m-[0-9]*-*.pt', '*/[0-9]*/m')
    """
    found, end = "", 0
    for match in _FIELD.finditer(template):
        piece = match[0][0]
        if match[1] is not None:
            field, form = _name_and_format(match[1])
            piece = "*"
            if field in COUNTERS and form[-1:] not in _WITHOUT_DIGITS:
                piece = "[0-9]*" if _DIGIT_FIRST.fullmatch(form) else "*[0-9]*"
        found += glob.escape(template[end : match.start()]) + piece
        end = match.end()
    return found + glob.escape(template[end:])


def truncated_glob(template: str) -> str:
    """Return the ``glob`` pattern of a template's shortened names, without their suffix; empty if there can be none.

    >>> truncated_glob("runs/m-{val_loss:.2f}-{epoch}.pt")
    'runs/m-*~[0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f]'
    """
    name = _start_of_name(template)
    first = next((match.start() for match in _FIELD.finditer(template, name) if match[1] is not None), None)
    if first is None:
        return ""
    head = render(template[name:first], {}).encode()[: LONGEST // 2].decode("utf-8", "ignore")
    return f"{glob_pattern(template[:name])}{glob.escape(head)}*~{'[0-9a-f]' * _DIGITS}"


def _start_of_name(template: str) -> int:
    """Return where the last part of a template begins; separators in the names of fields do not count."""
    plain = _FIELD.sub(lambda match: "0" * len(match[0]), template)
    return max(plain.rfind(separator) for separator in ("/", os.sep)) + 1


def fixed_name(template: str) -> str:
    """Return the last part of a template if it has no field; else an empty text.

    >>> fixed_name("runs/{epoch}/m.pt"), fixed_name("runs/m-{val/loss}.pt")
    ('m.pt', '')
    """
    name = _SEPARATORS.split(_FIELD.sub(lambda match: match[0][0] if match[1] is None else "\0", template))[-1]
    return "" if "\0" in name else name


def suffix_in(template: str) -> str:
    """Return the suffix of a template, empty for none; a field is no part of it.

    >>> suffix_in("m-{val_loss:.2f}"), suffix_in("{epoch}.weights.h5"), suffix_in("v1.5"), suffix_in("m.{epoch}")
    ('', '.weights.h5', '', '')
    """
    return suffix_at_end(_FIELD.sub("{}", template))


def with_suffix(
    template: str, suffixes: Sequence[str], others: Collection[str] = (), how: str = "", *, any_other: bool = True
) -> str:
    """Return the template with a suffix; the first of these is added if it has none.

    Args:
        template: The template.
        suffixes: The suffixes that name the model's formats, the default first.
        others: Further suffixes that the model could have with other options.
        how: These options, in words.
        any_other: Whether the template may have a suffix that names no format.

    Raises:
        SettingsError: The template has a suffix that the model cannot have.

    >>> with_suffix("best-{val_loss:.2f}", [".pt"]), with_suffix("best.pth.tar", [".pt"])
    ('best-{val_loss:.2f}.pt', 'best.pth.tar')
    """
    suffix = suffix_in(template)
    if suffix:
        try:
            check_suffix(suffix, suffixes, others, how, any_other=any_other)
        except SettingsError as error:
            raise SettingsError(f"{template!r}: {error}") from None
    elif not _FIELD.sub("0", template).endswith(tuple(suffixes)):
        return template + suffixes[0]
    return template


def _safe_part(part: str) -> str:
    """Return a path part that contains values as a name that every file system accepts and that is not reserved."""
    if not part.strip(". "):
        return "_" * max(len(part), 1)
    if _DEVICES.fullmatch(part) or part.startswith(".trainbus"):
        part = "_" + part
    encoded = part.encode("utf-8", "surrogatepass")
    if len(encoded) <= LONGEST:
        return part
    suffix = suffix_at_end(part)
    suffix = suffix if len(suffix) <= len(".weights.h5") and suffix.isascii() else ""
    end = "~" + hashlib.sha256(encoded).hexdigest()[:_DIGITS] + suffix
    return encoded[: LONGEST - len(end)].decode("utf-8", "ignore") + end
