"""Rows in batches."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainbus.adapters.sklearn.rows import batches

# deprecated since scikit-learn 1.8, gone in 1.10
pytestmark = pytest.mark.filterwarnings("ignore:Class PassiveAggressive:FutureWarning")


@given(st.integers(1, 200), st.integers(1, 250), st.integers(0, 9) | st.none())
def test_an_epoch_has_every_row_once(rows, size, seed):
    """Whatever the size and the order, each row comes once, in full batches with a smaller one at most at the end."""
    random = None if seed is None else np.random.RandomState(seed)
    found = [batch.tolist() for batch in batches(rows, size, random)]
    assert sorted(row for batch in found for row in batch) == list(range(rows))
    assert all(len(batch) == size for batch in found[:-1])
    assert 1 <= len(found[-1]) <= size
