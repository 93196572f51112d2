"""Values of metrics that have steps of their own."""

from hypothesis import given
from hypothesis import strategies as st

from trainbus.replay.readers.shared.points import Points

series = st.dictionaries(
    st.sampled_from(["loss", "val_loss", "acc"]),
    st.dictionaries(st.integers(0, 20), st.floats(-10, 10), min_size=2),
    min_size=1,
)


@given(series)
def test_each_value_keeps_its_step(given_series):
    """Whatever steps the metrics have, each of them has its own values at its own steps, in rising order."""
    points = Points()
    for label, values in given_series.items():
        for step in sorted(values):
            points.add(label, step, values[step])
    steps, columns, notes = points.joined()

    assert sorted(set().union(*given_series.values())) == steps.tolist()
    assert not notes
    for label, (rows, values) in columns.items():
        assert dict(zip(steps[rows].tolist(), values.tolist(), strict=True)) == given_series[label]


def test_times_are_read_where_they_rise():
    """Each row needs one, since a clock without gaps is what gives the seconds that a stop would save."""
    points = Points()
    for step, time in ((0, 5.0), (1, 6.5)):
        points.add("loss", step, 1.0, time)
    assert points.joined().columns["timestamp"].values.tolist() == [5.0, 6.5]
    points.add("loss", 2, 1.0, 6.5)
    assert "timestamp" not in points.joined().columns
