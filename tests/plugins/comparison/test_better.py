"""What counts as better: live and in a replay of many policies, from the same piece of code."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainbus.plugins import EarlyStopping, ReduceLROnPlateau
from trainbus.plugins.comparison import better_arguments
from trainbus.replay.libraries.settings import LIBRARIES

shared = {
    "min_delta": st.sampled_from([0.0, 1e-4, 0.25, -0.5]),
    "min_delta_mode": st.sampled_from([None, "abs", "rel"]),
    "cumulative_delta": st.booleans(),
    "ties": st.sampled_from(["older", "newer"]),
}
stoppers = st.builds(EarlyStopping, **shared)  # type: ignore[arg-type] - hypothesis does not see the options
plateaus = st.builds(ReduceLROnPlateau, rule=st.sampled_from(["keras", "torch"]), **shared)  # type: ignore[arg-type]


@given(stoppers | plateaus)
def test_a_replay_compares_as_the_live_callback(callback: Any) -> None:
    """The arguments of the rule are the same, and one array of differences is as many policies."""
    library = LIBRARIES["trainbus"]
    spec = library.stopping if isinstance(callback, EarlyStopping) else library.plateau
    live, options = callback.better(), callback.model_dump()
    deltas = np.array([0.0, options["min_delta"]])
    replayed = spec.arguments({**options, "min_delta": deltas}, 1)

    assert {name: spec.arguments(options, 1)[name] for name in live} == live
    for name in ("min_delta", "relative_delta"):
        assert np.array_equal(np.broadcast_to(replayed[name], 2), [0.0, live[name]])
    assert [replayed[name] for name in ("creeping", "ties")] == [live["creeping"], live["ties"]]


@pytest.mark.parametrize(
    ("options", "relative"),
    [
        ({}, False),
        ({"min_delta_mode": "abs"}, False),
        ({"min_delta_mode": "rel"}, True),
        ({"rule": "torch"}, True),
        ({"rule": "torch", "min_delta_mode": "abs"}, False),
        ({"rule": "keras"}, False),
        ({"rule": "keras", "min_delta_mode": "rel"}, True),
    ],
)
def test_the_mode_says_what_min_delta_is_or_else_the_rule(options: dict[str, Any], relative: bool) -> None:
    arguments = better_arguments({"min_delta": 0.25, **options})

    assert arguments["relative_delta" if relative else "min_delta"] == 0.25
    assert arguments["min_delta" if relative else "relative_delta"] == 0.0
