"""The file that keeps a state for inspection: the fields of its name, and whether a resume would find it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from fnmatch import fnmatch
from itertools import product

from trainbus import Run
from trainbus.checkpoints.names.filename_template import COUNTERS, check_template, render, template_fields
from trainbus.metrics.names import nearest
from trainbus.storage.paths import absolute

from ..model_checkpoint.run_field import check_run_field


def check_name(template: str) -> str:
    """Return the template if its fields are the id of the run and counters.

    Raises:
        ValueError: It has another field, or one in a place or with a format that it cannot have.

    >>> check_name("dumps/{run}/nan-{step:06d}")
    'dumps/{run}/nan-{step:06d}'
    >>> check_name("nan-{stp}")
    Traceback (most recent call last):
        ...
    ValueError: {stp}: only {run}, {epoch}, {epoch0}, {batch} and {step} are known here; did you mean {step}?
    """
    check_template(template)
    known = ("run", *COUNTERS)
    for field in template_fields(template):
        if field not in known:
            *others, last = (f"{{{each}}}" for each in known)
            near = nearest(field, known)
            way = f"did you mean {{{near}}}?" if near else "leave it out"
            raise ValueError(f"{{{field}}}: only {', '.join(others)} and {last} are known here; {way}")
    return check_run_field(template)


def filled(template: str, run: Run) -> str:
    """Return the path for the present state of a run; counters count from 1, "epoch0" from 0."""
    counters = {"epoch": run.epoch + 1, "epoch0": run.epoch, "batch": run.batch + 1, "step": run.step}
    return render(template, counters)


def may_match(template: str, patterns: Iterable[str]) -> bool:
    """Return whether a path that the template makes may match one of these ``glob`` patterns.

    >>> may_match("run/nan-{epoch}", ["run/m-*"]), may_match("run/m-{epoch}-{step}", ["run/m-*-7"])
    (False, True)
    """
    return any(fnmatch(absolute(path), absolute(each)) for each in patterns for path in _samples(template, each))


def _samples(template: str, pattern: str) -> Iterator[str]:
    """Yield paths of the template with each number that is in the last parts of the pattern, and 1."""
    fields = list(dict.fromkeys(template_fields(template)))
    numbers = dict.fromkeys([1, *map(int, re.findall(r"\d+", "/".join(pattern.split("/")[-2:])))])
    for values in product(numbers, repeat=len(fields)):
        yield render(template, dict(zip(fields, values, strict=True)))
