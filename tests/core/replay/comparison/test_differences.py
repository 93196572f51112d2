"""Which settings differ between runs, and in which order they are shown."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from trainbus.replay.comparison.differences import differing, shown

values = st.one_of(st.none(), st.booleans(), st.integers(-3, 3), st.sampled_from([0.1, 1e-3]), st.sampled_from("ab"))
settings = st.dictionaries(st.sampled_from(["lr", "seed", "model", "out", "wd"]), values, max_size=5)


@given(st.lists(settings, max_size=6))
def test_a_setting_differs_if_two_runs_with_settings_have_different_values(runs: list[dict[str, Any]]) -> None:
    """A run that does not have the setting has another value than those that have it; an unknown run has none."""
    known = [each for each in runs if each]
    names = {name for each in known for name in each}
    expected = {name for name in names if len({shown(each[name]) if name in each else "missing" for each in known}) > 1}
    found = differing(runs)

    assert set(found) == expected
    assert len(found) == len(expected)


@given(st.lists(settings, max_size=6))
def test_the_order_of_the_runs_does_not_matter(runs: list[dict[str, Any]]) -> None:
    """The same settings differ."""
    assert set(differing(runs)) == set(differing(runs[::-1]))


def test_what_several_runs_share_comes_before_what_each_has_alone() -> None:
    """A path that is different in each run says least."""
    runs = [{"dir": f"runs/{number}", "seed": number, "lr": (0.1, 0.2)[number % 2]} for number in range(4)]
    assert differing(runs) == ["lr", "seed", "dir"]


def test_any_object_is_shown_in_one_line() -> None:
    """What a file of settings may hold, and what only code can make."""
    circle: list[Any] = []
    circle.append(circle)
    assert [shown(each) for each in ("sgd", 0.5, {"a": [1]}, circle)] == ["sgd", "0.5", '{"a": [1]}', "<list>"]
