"""What is packed comes back as it was, and is looked at once."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from trainbus.resume.serialization import CompressedLog, decompress_log, from_json_data, to_json_data

VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.binary()),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(), inner, max_size=3)),
    max_leaves=6,
)


@given(parts=st.lists(st.lists(VALUES, max_size=5), max_size=5))
def test_each_text_holds_the_items_of_its_time(parts: list[list[Any]]) -> None:
    """However many are added between two texts, each holds all items so far, in order and to the bit."""
    packed, items, texts = CompressedLog(), list[Any](), list[tuple[str, int]]()
    for part in parts:
        items += part
        texts.append((packed.text(items, lambda item: [to_json_data(item)]), len(items)))
    for text, count in texts:
        assert repr([from_json_data(item) for (item,) in decompress_log(text)]) == repr(items[:count])


@given(items=st.lists(st.integers(0, 9)))
def test_an_item_is_looked_at_once(items: list[int]) -> None:
    """What was told already costs no save again; what is left out is looked at as rarely."""
    packed, looked = CompressedLog(), list[int]()

    def even(item: int) -> int | None:
        looked.append(item)
        return None if item % 2 else item

    for count in range(len(items) + 1):
        assert decompress_log(packed.text(items[:count], even)) == [item for item in items[:count] if item % 2 == 0]
    assert looked == items
