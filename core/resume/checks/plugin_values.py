"""Types of the values in a plugin's saved state, and one way to parse it before it is used.

Anyone can write a manifest, so a state may hold any plain data. A plugin that decides parses it in
``check_state_dict``, which a run calls before it changes anything.
"""

from __future__ import annotations

from functools import cache
from typing import Annotated, Any, TypeVar, cast

from pydantic import Field, TypeAdapter, ValidationError

from ...limits import EPOCHS, MESSAGE, STEPS

T = TypeVar("T")

Number = Annotated[int, Field(strict=True, ge=-1, le=EPOCHS)]
"""The number of an epoch, or a count of epochs or batches; -1 for none."""
Step = Annotated[int, Field(strict=True, ge=-1, le=STEPS)]
"""The number of a step, or of bytes."""
Score = Annotated[float, Field(strict=True)]
"""A number that may be infinite or NaN."""
Seconds = Annotated[float, Field(strict=True, ge=0, le=1e15, allow_inf_nan=False)]
"""A length of time."""
Flag = Annotated[bool, Field(strict=True)]
Text = Annotated[str, Field(strict=True)]


def parsed(kind: type[T] | TypeAdapter[T], saved: object) -> T:
    """Return a saved state as the type that it must have.

    Args:
        kind: The type, or pydantic's adapter of it. That of a type is made when it is first needed, by a resume.
        saved: The state.

    Raises:
        ValueError: The state is of another type; the message names the first wrong value.

    >>> parsed(list[Number], [3, 10**30])
    Traceback (most recent call last):
        ...
    ValueError: [1]: input should be less than or equal to 9007199254740992
    """
    adapter: TypeAdapter[T] = kind if isinstance(kind, TypeAdapter) else _adapter_of(cast("Any", kind))
    try:
        return adapter.validate_python(saved)
    except ValidationError as error:
        first: Any = error.errors(include_url=False, include_context=False, include_input=False)[0]
        place = "".join(f"[{each!r}]" for each in first["loc"])
        why = f"{first['msg'][:1].lower()}{first['msg'][1:]}"
        raise ValueError(f"{place}: {why}"[:MESSAGE] if place else why[:MESSAGE]) from None


@cache
def _adapter_of(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)
