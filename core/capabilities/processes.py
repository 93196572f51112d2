"""The processes that train one subject together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable


class Ranks(Protocol):
    """The process group that trains one model together, as seen by one process.

    ``all_reduce_sum``, ``all_reduce_max``, ``broadcast`` and ``gather`` are collective: every rank calls them in the
    same order, with values of the same shape, and waits for the others. Values are plain JSON data. If another process
    fails or does not answer in time, they raise ``RankError``, and the group can no longer be used.
    """

    @property
    def rank(self) -> int:
        """The number of this process, counted from 0; rank 0 writes the files."""
        ...

    @property
    def size(self) -> int:
        """The number of processes."""
        ...

    def all_reduce_sum(self, numbers: Sequence[float]) -> list[float]:
        """Return the element-wise sums over all ranks, bitwise identical on every rank."""
        ...

    def all_reduce_max(self, numbers: Sequence[float]) -> list[float]:
        """Return the element-wise maxima over all ranks."""
        ...

    def broadcast(self, value: Any) -> Any:
        """Return rank 0's value on every rank; the values of other ranks are ignored."""
        ...

    def gather(self, value: Any) -> list[Any]:
        """Return the values of all ranks in rank order on rank 0, and an empty list elsewhere."""
        ...

    def put_if_absent(self, name: str, text: str) -> str:
        """Store ``text`` under a name for all ranks, unless the name already has a text; return the stored text.

        Any thread may call this; it does not wait for the other ranks.
        """
        ...

    def get(self, name: str) -> str | None:
        """Return the text stored under a name; None if there is none."""
        ...

    def close(self) -> None:
        """Leave the group; ranks that wait for this one fail at once."""
        ...


@runtime_checkable
class HasRanks(Protocol):
    """A subject that several processes may train together."""

    def ranks(self) -> Ranks | None:
        """Return a new group of the processes that train this subject; None if this process trains alone."""
        ...


@runtime_checkable
class JoinsRanks(Protocol):
    """A subject whose ranks may serve the others' collective operations once they have no batches left."""

    def joins_ranks(self) -> bool:
        """Return whether this applies now, for example inside ``DistributedDataParallel.join``."""
        ...


@runtime_checkable
class Sharded(Protocol):
    """A subject whose ranks each write their part of a checkpoint directory."""

    def saves_sharded(self, suffix: str) -> bool:
        """Return whether files with this suffix are directories of shards (see ``storage.sharded_directory``)."""
        ...

    def writer_group(self) -> Ranks | None:
        """Return the ranks that must save and load together; None if each rank holds the complete state.

        The group has its own connections, so that a background thread may use it while the training communicates. All
        ranks call this method at the same time, but not from the background thread.
        """
        ...
