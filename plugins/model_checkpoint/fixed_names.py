"""The names of the files "last", "end", "exception" and "signal", which may be given, also with fields."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, Final, Literal, cast, get_args

from trainbus.checkpoints.names.filename_template import check_template, suffix_in
from trainbus.metrics.names import hint_with_list

from .part_field import FIELD, check_part_field, in_parts
from .run_field import check_no_run_field

Moment = Literal["end", "exception", "signal"]
"""When the training ends, and how."""
MOMENTS: Final[tuple[str, ...]] = get_args(Moment)
_TRUTHS = frozenset(["", "0", "1", "true", "false", "yes", "no", "on", "off", "none"])
"""Text that is meant as True or False."""
LAST = "last"
LINK = "link"
"""The value of ``save_last`` with which "last" is a link to the newest file."""


def check_last(value: object) -> object:
    """Return the value of ``save_last`` if it is a bool, "link" or a name.

    Raises:
        ValueError: It is something else.

    >>> check_last("last-{epoch}"), check_last(True)
    ('last-{epoch}', True)
    """
    if isinstance(value, str):
        if value.lower() in _TRUTHS:
            raise ValueError('give True or False, not text; or "link", or a name such as "last-{epoch}"')
        return _check_name(value)
    value = cast("Any", value).item() if getattr(value, "shape", None) == () else value
    if not isinstance(value, bool):
        raise ValueError('give True, False, "link", or a name such as "last-{epoch}"')  # noqa: TRY004
    return value


def check_moments(value: object) -> object:
    """Return the value of ``save_on`` as a tuple, or as a mapping from each moment to the name of its file.

    Raises:
        ValueError: It names another moment, or a name is none.

    >>> check_moments("end"), check_moments({"signal": "sig-{step}"})
    (('end',), {'signal': 'sig-{step}'})
    """
    if isinstance(value, str):
        return (value,)  # ("end") is a str, not a tuple
    if not isinstance(value, Mapping):
        return value
    given = cast("Mapping[object, Any]", value)
    for moment, name in given.items():
        if moment not in MOMENTS:
            raise ValueError(f"unknown moment {moment!r}{hint_with_list(str(moment), MOMENTS, 'moments')}")
        if not isinstance(name, str):
            raise ValueError(f"{moment!r}: give the name of a file, such as {str(moment) + '-{epoch}'!r}")  # noqa: TRY004
        _check_name(name)
    return dict(given)


def names_of(save_last: bool | str, save_on: Any, *, parts: bool = False) -> dict[str, str]:  # noqa: FBT001
    """Return the name of each file that is wanted, by "last" and the moments.

    Args:
        save_last: The option.
        save_on: The option.
        parts: Whether each of several models has a file.

    >>> names_of(True, ("end",)), names_of("link", {"end": "final"}), names_of(False, ())
    ({'last': 'last', 'end': 'end'}, {'last': 'last', 'end': 'final'}, {})
    >>> names_of(True, ("end",), parts=True)
    {'last': '{part}-last', 'end': '{part}-end'}
    """
    before = f"{FIELD}-" if parts else ""
    last = {LAST: save_last if isinstance(save_last, str) and save_last != LINK else before + LAST} if save_last else {}
    return {**last, **(save_on if isinstance(save_on, Mapping) else {each: before + each for each in save_on})}


def check_parts(name: str, filepath: str) -> None:
    """Refuse a name if either it or ``filepath`` has ``{part}``.

    Raises:
        ValueError: One of them has the field.

    >>> check_parts("last", "{part}-{epoch}")
    Traceback (most recent call last):
        ...
    ValueError: filepath='{part}-{epoch}' writes a file of each model, and 'last' names one; write '{part}-last'
    """
    if in_parts(filepath) and not in_parts(name):
        raise ValueError(
            f"filepath={filepath!r} writes a file of each model, and {name!r} names one; write {f'{FIELD}-{name}'!r}"
        )
    if in_parts(name) and not in_parts(filepath):
        raise ValueError(
            f"{name!r} names a file of each model, and filepath={filepath!r} writes one of all; put {FIELD} into "
            "filepath, too"
        )


def _check_name(name: str) -> str:
    check_part_field(name)
    check_template(name)
    check_no_run_field(name)
    if "/" in name or os.sep in name:
        raise ValueError(f"{name!r}: give a name without a directory; the file is beside those of filepath")
    if suffix := suffix_in(name):
        raise ValueError(f"{name!r}: leave {suffix} out; the file has the suffix of filepath")
    return name
