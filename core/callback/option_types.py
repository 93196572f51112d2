"""Types of options that several callbacks have, and the values that are numbers or truth values."""

from __future__ import annotations

import math
import os
from types import UnionType
from typing import Annotated, Any, Literal, Union, cast, get_args, get_origin

from pydantic import AfterValidator, BeforeValidator, PlainValidator, WrapValidator
from pydantic.fields import FieldInfo

from ..metrics.scalars import as_number
from ..storage.paths import expanded

Mode = Literal["auto", "min", "max"]


def _bool_to_int(value: object) -> object:
    return int(value) if isinstance(value, bool) else value


Verbose = Annotated[Literal["auto", 0, 1, 2], BeforeValidator(_bool_to_int)]


def _path_to_text(value: object) -> object:
    return os.fspath(cast("os.PathLike[str]", value)) if isinstance(value, os.PathLike) else value


def _check_text(path: str) -> str:
    if not path:
        raise ValueError("give a path; an empty text names none")
    if "\0" in path:
        raise ValueError("a path cannot contain a null character")
    try:
        path.encode()
    except UnicodeEncodeError:
        raise ValueError("a path must be text; rename it so that UTF-8 can represent its name") from None
    return path


PathText = Annotated[
    str,
    BeforeValidator(_path_to_text),
    AfterValidator(_check_text),
    AfterValidator(expanded),
]
"""A path, stored as text, which JSON and TOML can represent; a leading "~" becomes the home directory."""

_WORDS = {int: "a whole number", float: "a number", bool: "True or False", type(None): "None"}


def as_option(value: object, field: FieldInfo) -> object:
    """Return a number for a value that is one as a metric; refuse other conversions that pydantic makes.

    These are strings for numbers and bools, and bools for numbers.

    Args:
        value: The value of an option.
        field: The field of the option.

    Raises:
        ValueError: The option is a number or a bool, and the value is something else.
    """
    kinds = _plain_kinds(field)
    if not kinds or type(value) in kinds or value is None:
        return value
    wanted = " or ".join(_WORDS[kind] for kind in (bool, float, int, type(None)) if kind in kinds)
    if isinstance(value, (str, bool)):
        raise ValueError(f"give {wanted}, not {'text' if isinstance(value, str) else 'a bool'}")  # noqa: TRY004
    if isinstance(value, (int, float)) or not kinds & {int, float}:
        return value
    try:
        number = as_number(value)
    except TypeError:
        raise ValueError(f"give {wanted}, not a value of type {_type_of(value)}") from None
    return int(number) if number.is_integer() else number


def _type_of(value: Any) -> str:
    """Return the type of a value in words, of an array with the type of its elements."""
    if hasattr(value, "mask"):
        return "masked"
    dtype = getattr(value, "dtype", None)
    if dtype is None or not getattr(value, "shape", ()):
        return type(value).__name__
    return f"{type(value).__name__} of {math.prod(value.shape)} {dtype}"


def _plain_kinds(field: FieldInfo) -> frozenset[type]:
    """Return the types of an option that is a number or a bool; empty for any other."""
    is_union = get_origin(field.annotation) in (Union, UnionType)
    members: tuple[Any, ...] = get_args(field.annotation) if is_union else (field.annotation,)
    kinds = frozenset(get_args(each)[0] if get_origin(each) is Annotated else each for each in members)
    converts = any(isinstance(each, (BeforeValidator, PlainValidator, WrapValidator)) for each in field.metadata)
    return kinds if kinds <= set(_WORDS) and not converts else frozenset()
