"""Host memory that is kept for reuse."""

import numpy as np

from trainbus.checkpoints.host_buffers import HostBuffers


def test_only_the_first_copy_of_a_key_allocates() -> None:
    """Later copies of the same shape and dtype overwrite its memory; keys never share memory."""
    kept, source = HostBuffers(), np.arange(5.0)
    first = kept.take("a", source)
    for value in (1.0, 2.0):
        again = kept.take("a", source)
        kept.fill([(again, source * value)])
        assert again is first
        np.testing.assert_array_equal(first, source * value)
    assert not np.shares_memory(first, kept.take("b", source))


def test_another_shape_or_type_gets_other_memory() -> None:
    """Memory is reused only if shape and dtype are the same."""
    kept = HostBuffers()
    first = kept.take("a", np.zeros(4))
    second = kept.take("a", np.zeros(4, np.float32))
    third = kept.take("a", np.zeros((2, 2), np.float32))
    assert (second.dtype, second.shape, third.shape) == (np.float32, (4,), (2, 2))
    assert not any(np.shares_memory(one, other) for one, other in [(first, second), (second, third), (first, third)])


def test_unused_memory_is_dropped() -> None:
    """Keys that were not requested since the last call lose their memory; the others keep theirs."""
    kept, source = HostBuffers(), np.zeros(3)
    one, other = kept.take("one", source), kept.take("other", source)
    kept.drop_unused()
    assert kept.take("one", source) is one
    kept.drop_unused()
    assert kept.take("one", source) is one
    assert kept.take("other", source) is not other
