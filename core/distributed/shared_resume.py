"""Let several ranks resume from the same checkpoint, the newest one that all of them can read."""

from __future__ import annotations

from collections.abc import Callable, Collection, Generator
from contextlib import contextmanager

from ..checkpoints import Checkpoint, ManifestEntry, entries_of, read
from ..errors import CheckpointError, SettingsError, UnreadableCheckpoint
from ..storage.paths import Location, location
from ..storage.sharded_directory import VerificationShare
from .coordinator import Coordinator, attempt
from .rendezvous import describe_failures


class SharedResume:
    """The steps in which ranks find and load a checkpoint.

    Args:
        coordinator: The collective operations of this rank.
        rank: The number of this process.
        size: The number of processes.
    """

    def __init__(self, coordinator: Coordinator, rank: int, size: int) -> None:
        self._coordinator = coordinator
        self._rank, self._size = rank, size
        self._unreadable = ""
        """The reasons why some ranks could not read a checkpoint that others have read."""

    def find(
        self, find: Callable[[Collection[Location]], Checkpoint | None], damaged: Collection[Location]
    ) -> Checkpoint | None:
        """Let rank 0 find a checkpoint that is not among the damaged ones.

        Returns:
            The checkpoint on rank 0. The other ranks get only its path and digest, and read it when they load it.
        """
        checkpoint, error = attempt(find, damaged) if self._rank == 0 else (None, None)
        found = [] if checkpoint is None else [str(checkpoint.path), checkpoint.entry.digest]
        found = self._coordinator.broadcast(found, error)
        if not found and self._unreadable:
            raise self._coordinator.mark_shared(CheckpointError(self._unreadable))
        if not found or checkpoint is not None:
            return checkpoint
        return Checkpoint(path=location(found[0]), entry=ManifestEntry(digest=found[1], size=0, epoch=0, step=0))

    def load(self, load: Callable[[Checkpoint], None], checkpoint: Checkpoint) -> None:
        """Let every rank verify its part of a checkpoint, then load it.

        Raises:
            UnreadableCheckpoint: A rank has found damage.
        """
        with self._flaws(CheckpointError) as flaws:
            if self._rank:
                checkpoint = _same_checkpoint(checkpoint, VerificationShare(self._rank, self._size))
        if not flaws:
            with self._flaws(UnreadableCheckpoint) as flaws:
                load(checkpoint)
            if not flaws:
                return
            if len(flaws) < self._size:
                problem = describe_failures(flaws)
                self._unreadable = f"{problem}; the other ranks have read it, and there is no older one for all of them"
        raise self._coordinator.mark_shared(UnreadableCheckpoint(describe_failures(flaws)))

    @contextmanager
    def _flaws(self, kind: type[CheckpointError]) -> Generator[dict[int, str]]:
        """Collect the errors of this type that the block raises on each rank; raise any other error on all ranks."""
        flaws, flaw = dict[int, str](), ""
        with self._coordinator.shared():
            try:
                yield flaws
            except kind as raised:
                flaw = str(raised)
        every = self._coordinator.rendezvous.all_gather(flaw)
        flaws.update((rank, each) for rank, each in enumerate(every) if each)


def _same_checkpoint(found: Checkpoint, share: VerificationShare) -> Checkpoint:
    """Read the checkpoint that rank 0 has found, and verify this rank's part of it."""
    path, digest = found.path, found.entry.digest
    known = any(entry.digest == digest for entry in entries_of(path))
    checkpoint = read(path, share) if known else None
    if checkpoint is None or checkpoint.entry.digest != digest:
        raise SettingsError(f"{str(path)!r} is not the file that rank 0 sees there; all ranks must see the same files")
    return checkpoint
