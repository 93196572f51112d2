"""What a checkpoint stores of the charts is parsed as a whole, before any of it is used."""

from typing import Any

import pytest

from trainbus.resume.checks.plugin_values import parsed

pytest.importorskip("tensorboardX")
from trainbus.plugins.tensorboard.saved_charts import SAVED

VALID: dict[str, Any] = {
    "line": "0123abcd",
    "files": {"train/events": 10},
    "introduced": True,
    "described": False,
    "final": {"loss": float("nan")},
    "step": 3,
    "counts_step": None,
    "decisions": {"rows": [[1, "stop", "", "why", "EarlyStopping"]], "earlier": 0, "counts": {"stop": 1}},
}


def test_a_state_of_its_own_is_accepted() -> None:
    """Also one without final values."""
    parsed(SAVED, VALID)
    parsed(SAVED, {name: value for name, value in VALID.items() if name != "final"})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *[("line", each) for each in ("../../x", "0123abcd\n", "0123ABCD", "", 3, None)],
        *[("files", each) for each in ({"a": "x"}, {"a": 10**30}, {"a": 1.5}, [], None)],
        *[("step", each) for each in ("3", 10**30, 1.5)],
        *[("final", each) for each in ({"loss": "x"}, 3)],
        *[("introduced", each) for each in (1, "true")],
        *[("decisions", each) for each in ({}, {**VALID["decisions"], "counts": {"x": 1}}, None)],
        ("decisions", {**VALID["decisions"], "rows": [["1", "stop", "", "", ""]]}),
        ("decisions", {**VALID["decisions"], "rows": [[1, "stop"]]}),
    ],
)
def test_another_value_is_refused(name: str, value: Any) -> None:
    """The error names the part."""
    with pytest.raises(ValueError, match=rf"^\['{name}'\]"):
        parsed(SAVED, {**VALID, name: value})
