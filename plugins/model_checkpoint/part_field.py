"""The field ``{part}`` of a name: the name of a model, for a file of each of several models."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from unicodedata import normalize

from trainbus.capabilities import Refuses, SavesParts, has, missing, supports
from trainbus.checkpoints.names.filename_template import fixed_name, render, template_fields

FIELD = "{part}"
"""The field that is replaced by the name of a model."""
_FIELD_OR_BRACES = re.compile(r"\{\{|\}\}|\{part\}")


_TOUCHING = re.compile(r"(?<!\})\}\{part\}|\{part\}\{(?!\{)")
"""The field with another one right before or after it."""


def in_parts(template: str) -> bool:
    """Return whether a template has the field ``{part}``.

    >>> in_parts("{part}-{epoch}"), in_parts("m-{{part}}")
    (True, False)
    """
    return "part" in template_fields(template)


def check_part_field(template: str) -> str:
    """Return the template if ``{part}``, if it has that field, is in the name of the file, without a format.

    Raises:
        ValueError: It has a format, or is in the directory.

    >>> check_part_field("run/{part}/m-{epoch}")
    Traceback (most recent call last):
        ...
    ValueError: {part} must be in the name of the file, since the files of one save are beside each other; write ...
    """
    if not in_parts(template):
        return template
    if template_fields(template).count("part") != _FIELD_OR_BRACES.findall(template).count(FIELD):
        raise ValueError(f"{FIELD} is text and has no number format; write {FIELD}")
    start = max(map(template.rfind, ("/", os.sep))) + 1
    if in_parts(template[:start]):
        places = [each for each in template[:start].split("/") if each != FIELD]
        name = template[start:] if in_parts(template[start:]) else f"{FIELD}-{template[start:]}"
        right = "/".join(places) + name
        why = "the files of one save are beside each other"
        write = "take it out of the directory" if in_parts("/".join(places)) else f"write {right!r}"
        raise ValueError(f"{FIELD} must be in the name of the file, since {why}; {write}")
    return template


def with_part(template: str, part: str) -> str:
    """Return a template with ``{part}`` replaced by the name of a model.

    >>> with_part("run/{part}-{epoch}", "netG"), with_part("m-{{part}}", "netG")
    ('run/netG-{epoch}', 'm-{{part}}')
    """
    escaped = part.replace("{", "{{").replace("}", "}}")
    return _FIELD_OR_BRACES.sub(lambda match: escaped if match[0] == FIELD else match[0], template)


def parts_of(subject: object) -> Sequence[str]:
    """Return the names of a subject's models in alphabetical order; none if it does not have several."""
    return sorted(subject.part_names()) if supports(subject, SavesParts) else ()


def templates_in(template: str, subject: object) -> list[str]:
    """Return the templates of the files of each model; the template itself without ``{part}``, or without models."""
    parts = parts_of(subject) if in_parts(template) else ()
    return [with_part(template, each) for each in parts] or [template]


def part_problems(templates: Sequence[str], subject: object) -> Iterator[str]:
    """Yield why the files of a subject's models cannot have names with ``{part}``.

    Args:
        templates: The template of the files, and those of the files beside them.
        subject: What is trained.
    """
    if not in_parts(templates[0]):
        return
    if not supports(subject, SavesParts):
        known = has(subject, SavesParts) or (has(subject, Refuses) and subject.refusal(SavesParts))
        why = missing(subject, SavesParts) if known else "the run has one model"
        yield f"{FIELD} is the name of each of several models, but {why}; leave {FIELD} out"
        return
    seen, parts = dict[str, str](), parts_of(subject)
    for template in templates:
        if _TOUCHING.search(template) and (alike := _contained(parts)):
            yield (
                f"{template!r} could give files of the models {alike[0]!r} and {alike[1]!r} one name; put a character "
                f"between {FIELD} and the next field, as in '{FIELD}-{{epoch}}'"
            )
    for part in parts:
        twin = seen.setdefault(normalize("NFC", part).casefold(), part)
        if twin != part:
            yield f"some systems cannot tell the files of the models {twin!r} and {part!r} apart; rename one of them"
        right = render("x{part}", {"part": part})[1:]
        right = right.lstrip(". ") or "model"
        names = filter(None, (fixed_name(with_part(each, part)) for each in templates))
        if right != part or any(render("{name}", {"name": each}) != each for each in names):
            right = right if right != part else f"{part}_"
            yield f"no file can be named by the model {part!r} on all systems; name the model {right!r}"


def _contained(parts: Sequence[str]) -> tuple[str, str] | None:
    """Return two names of which one begins or ends with the other; None if there are none."""
    pairs = ((one, other) for one in parts for other in parts if one != other)
    return next((pair for pair in pairs if pair[1].startswith(pair[0]) or pair[1].endswith(pair[0])), None)
