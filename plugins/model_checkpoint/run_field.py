"""The field ``{run}`` of a path: the id of the run, which is part of the directory that the run locks."""

from __future__ import annotations

from trainbus.checkpoints.names.filename_template import sibling_path, template_fields
from trainbus.settings.run_id import FIELD, filled, has_field

_A_RUN = "\x7f"
"""An id that no path contains."""


def check_run_field(template: str) -> str:
    """Return the template if ``{run}``, if it has that field, is part of the directory that a run locks.

    Raises:
        ValueError: It is in the name of the file only, or below a directory with another field, or has a format.

    >>> check_run_field("runs/{run}/m-{epoch}")
    'runs/{run}/m-{epoch}'
    >>> check_run_field("m-{run}")
    Traceback (most recent call last):
        ...
    ValueError: {run} must be part of the directory, since a directory belongs to one run; write '{run}/m-{run}'
    """
    count = template_fields(template).count("run")
    if not count:
        return template
    with_id = filled(template, _A_RUN, template=True)
    if not has_field(template, template=True) or "run" in template_fields(with_id):
        raise ValueError(f"{FIELD} is text and has no number format; write {FIELD}")
    if _A_RUN not in sibling_path(with_id, "", ""):
        directory = sibling_path(template.replace(FIELD, ""), "", "")
        name = template.removeprefix(directory)
        raise ValueError(
            f"{FIELD} must be part of the directory, since a directory belongs to one run; "
            f"write {directory + FIELD + '/' + name!r}"
        )
    return template


def check_no_run_field(name: str) -> None:
    """Refuse ``{run}`` in the name of a file beside those of ``filepath``.

    Raises:
        ValueError: The name has that field.
    """
    if "run" in template_fields(name):
        raise ValueError(f"{name!r}: leave {FIELD} out; put it into the directory of filepath, as in 'runs/{{run}}/m'")
