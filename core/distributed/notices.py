"""Short texts that one rank posts for all others, also while they wait for each other."""

from __future__ import annotations

import json
from collections.abc import Callable

from ..capabilities import Ranks


class Notices:
    """The notices of all ranks, in one order, in the store that they share; any thread may post and read.

    Args:
        ranks: The processes.
    """

    def __init__(self, ranks: Ranks) -> None:
        self._ranks = ranks
        self._posted = self._read = 0

    def post(self, step: Callable[[str], object], text: str) -> None:
        """Post a text for the other ranks, after those that were posted before.

        Args:
            step: What a single process does instead.
            text: The text.

        Raises:
            RankError: The store does not answer.
        """
        notice = json.dumps([self._ranks.rank, text])
        while self._ranks.put_if_absent(f"notice/{self._posted}", notice) != notice:
            self._posted += 1
        self._posted += 1

    def read(self, step: Callable[[], object]) -> list[tuple[int, str]]:
        """Return the notices of other ranks since the last call, each with the rank that posted it.

        Args:
            step: What a single process does instead.

        Raises:
            RankError: The store does not answer.
        """
        found: list[tuple[int, str]] = []
        while (notice := self._ranks.get(f"notice/{self._read}")) is not None:
            self._read += 1
            rank, text = json.loads(notice)
            if rank != self._ranks.rank:
                found.append((rank, text))
        return found
