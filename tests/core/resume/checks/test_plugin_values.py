"""A plugin's saved state is parsed as the types that it must have; the error names the first wrong value."""

from math import inf, nan
from typing import Any

import pytest
from pydantic import TypeAdapter

from trainbus.resume.checks.plugin_values import Flag, Number, Score, Seconds, Step, Text, parsed

KINDS: dict[str, TypeAdapter[Any]] = {
    "number": TypeAdapter(Number),
    "step": TypeAdapter(Step),
    "score": TypeAdapter(Score),
    "seconds": TypeAdapter(Seconds),
    "flag": TypeAdapter(Flag),
    "text": TypeAdapter(Text),
}


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        *[("number", each) for each in (-1, 0, 2**53)],
        *[("step", each) for each in (-1, 2**63)],
        *[("score", each) for each in (-inf, inf, 0.1 + 0.2, -0.0, 3)],
        *[("seconds", each) for each in (0.0, 1e15)],
        *[("flag", each) for each in (True, False)],
        ("text", "a"),
    ],
)
def test_a_value_stays_as_it_is(kind: str, value: Any) -> None:
    """To the bit."""
    assert repr(parsed(KINDS[kind], value)) == repr(float(value) if kind in ("score", "seconds") else value)
    assert repr(parsed(KINDS["score"], nan)) == "nan"


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        *[("number", each) for each in (-2, 2**53 + 1, 10**400, 1.0, "1", True, None, [], {})],
        *[("step", each) for each in (-2, 2**63 + 1, 1.5, "9")],
        *[("score", each) for each in ("nan", None, True, [1.0], 10**400)],
        *[("seconds", each) for each in (-1.0, inf, nan, 1e16, "1")],
        *[("flag", each) for each in (0, 1, "true", None)],
        *[("text", each) for each in (b"a", 1, None, ["a"])],
    ],
)
def test_another_value_is_refused_in_one_line(kind: str, value: Any) -> None:
    """Nothing is converted."""
    with pytest.raises(ValueError, match=r"^input should|^unable|^.+$") as raised:
        parsed(KINDS[kind], value)
    assert len(str(raised.value)) < 500
    assert "\n" not in str(raised.value)


def test_the_error_names_the_place() -> None:
    """Of the first wrong value."""
    kind: TypeAdapter[Any] = TypeAdapter(dict[Text, list[Number]])
    with pytest.raises(ValueError, match=r"^\['kept'\]\[1\]: input should be a valid integer$"):
        parsed(kind, {"kept": [1, "x"]})
