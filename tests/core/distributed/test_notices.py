"""Every rank reads each notice of the others once, in the order in which they were posted."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from trainbus.distributed.notices import Notices


class Stored:
    """A rank with the store that all ranks share."""

    def __init__(self, rank: int, store: dict[str, str]) -> None:
        self.rank, self.store = rank, store

    def put_if_absent(self, name: str, text: str) -> str:
        return self.store.setdefault(name, text)

    def get(self, name: str) -> str | None:
        return self.store.get(name)


TEXTS = st.sampled_from(["", "hangs", "two\nlines", "é"])


@given(st.lists(st.tuples(st.integers(0, 2), TEXTS | st.none()), max_size=25))
def test_each_notice_is_read_once_by_every_other_rank(calls: list[tuple[int, str | None]]) -> None:
    store: dict[str, str] = {}
    ranks: list[Any] = [Notices(Stored(rank, store)) for rank in range(3)]  # type: ignore[arg-type]
    posted: list[tuple[int, str]] = []
    read: list[list[tuple[int, str]]] = [[], [], []]
    for number, (rank, text) in enumerate(calls):
        if text is None:
            read[rank] += ranks[rank].read(list)
        else:
            posted.append((rank, f"{number} {text}"))
            ranks[rank].post(lambda _: None, f"{number} {text}")
    for rank in range(3):
        read[rank] += ranks[rank].read(list)

        assert read[rank] == [each for each in posted if each[0] != rank]
