"""The ranks that write checkpoints together, or a single process."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import contextmanager

from ..capabilities import Ranks, Sharded, has
from ..storage.sharded_directory import EVERY_PART, VerificationShare

_RAISED = 2.0
"""What a rank sends that has raised an error; one with a file that it cannot write sends 1."""


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

    def failed_anywhere(self, failed: Sequence[bool]) -> list[bool]:
        """Return which files any rank cannot write; every rank calls this with the same number of files.

        Args:
            failed: Which files this rank cannot write.
        """
        ranks = self.ranks
        if ranks is None:
            return list(failed)
        worst = ranks.all_reduce_max([float(any(failed))])[0]
        if worst != 1:  # a rank that has raised does not meet the others again
            return [worst == _RAISED] * len(failed)
        return list(map(bool, ranks.all_reduce_max(list(map(float, failed)))))

    @contextmanager
    def abort_all_on_error(self) -> Generator[None]:
        """If the block raises, abort the save on all ranks; the other ranks call ``failed_anywhere`` next."""
        try:
            yield
        except BaseException:
            if self.ranks is not None:
                self.ranks.all_reduce_max([_RAISED])
            raise

    def leave(self) -> None:
        """Leave the group; waiting ranks fail at once."""
        ranks, self._ranks = self._ranks, None
        if ranks is not None:
            self.left = True
            ranks.close()
