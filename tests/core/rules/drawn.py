"""Histories of scores, drawn for the rules."""

from math import inf, nan

from hypothesis import strategies as st

scores = st.floats(-10, 10) | st.sampled_from([nan, inf, -inf, 0.0, 1.0])
histories = st.lists(scores, min_size=1, max_size=25)
deltas = st.sampled_from([0.0, 1e-4, 0.5])
