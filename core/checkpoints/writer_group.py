"""The ranks that write checkpoints together, or a single process."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

from ..capabilities import Ranks, Sharded, has
from ..storage.sharded_directory import EVERY_PART, VerificationShare


class WriterGroup:
    """The ranks that write checkpoints together.

    If the subject is not sharded, or one process trains it, this process writes alone.

    Args:
        subject: The object that is trained.
    """

    def __init__(self, subject: object) -> None:
        self._subject = subject
        self._ranks: Ranks | None = None
        self.left = False
        """Whether this process has left the group."""

    @property
    def ranks(self) -> Ranks | None:
        """The ranks that write together; None if this process writes alone. All ranks call this at the same point."""
        if self._ranks is None and has(self._subject, Sharded) and not self.left:
            self._ranks = self._subject.writer_group()
        return self._ranks

    @property
    def is_collective(self) -> bool:
        """Whether all ranks write each file together. All ranks call this at the same point."""
        return self.ranks is not None

    @property
    def leads(self) -> bool:
        """Whether this process writes manifests, links and removes files, and reports what was written."""
        return self._ranks is None or self._ranks.rank == 0

    @property
    def share(self) -> VerificationShare:
        """The parts of a sharded checkpoint that this process verifies."""
        ranks = self.ranks
        return EVERY_PART if ranks is None else VerificationShare(ranks.rank, ranks.size)

    def any_failed(self, *, failed: bool) -> bool:
        """Return whether any rank has failed; every rank calls this and passes whether it has failed."""
        ranks = self.ranks
        return failed if ranks is None else bool(ranks.all_reduce_max([float(failed)])[0])

    @contextmanager
    def abort_all_on_error(self) -> Generator[None]:
        """If the block raises, abort the save on all ranks; the other ranks call ``any_failed`` next."""
        try:
            yield
        except BaseException:
            self.any_failed(failed=True)
            raise

    def leave(self) -> None:
        """Leave the group; waiting ranks fail at once."""
        ranks, self._ranks = self._ranks, None
        if ranks is not None:
            self.left = True
            ranks.close()
