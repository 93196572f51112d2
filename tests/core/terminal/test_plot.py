"""A plot shows every epoch."""

from math import inf, isfinite, nan

from hypothesis import given
from hypothesis import strategies as st

from trainbus.terminal import plot


@given(
    st.dictionaries(st.integers(0, 400), st.sampled_from([nan, inf, -inf]) | st.floats(-1e300, 1e300), max_size=60),
    st.integers(20, 120),
    st.integers(2, 12),
)
def test_a_plot_shows_every_epoch_in_its_room(values: dict[int, float], width: int, height: int) -> None:
    """It is at most as wide as requested, has the requested height, and shows the lowest and highest value."""
    lines = plot(values, dict.fromkeys(list(values)[:1], "S"), width=width, height=height)
    finite = [value for value in values.values() if isfinite(value)]

    if not finite:
        assert lines == []
        return
    assert max(map(len, lines)) <= width
    assert len(lines) == height + 3
    assert f"{max(finite):.5g} ┤" in lines[0]
    assert f"{min(finite):.5g} ┤" in lines[height - 1]
    assert sum(line.count("•") for line in lines) >= 1
    assert lines[-1].strip() == "S"
    assert ("x" in lines[height - 1]) <= (len(finite) < len(values))
