"""Data of unknown form."""

import pytest

from trainbus.replay.readers.shared.plain_data import as_list, as_mapping


@pytest.mark.parametrize("value", [None, 1, "text", True])
def test_anything_else_is_empty(value: object):
    assert not as_mapping(value)
    assert not as_list(value)
