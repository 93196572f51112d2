"""How a run goes on from a checkpoint: where it stands, what it carries to its end, which batches it passes over."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any, TypeVar

from .failures import LOG
from .loaders import bring_back, state_of
from .memory import Share, decision_from_plain
from .packed import Packed, unpacked
from .plain import from_plain
from .randomness import random_state, undrawn
from .resume import Resumption, find
from .status import Status
from .storage.checkpoints import Checkpoint
from .storage.locations import Location, Source, location
from .storage.parts import EVERYTHING, Portion
from .storage.places import present

__all__ = ["Continuation"]

T = TypeVar("T")


class Continuation(Status):
    """A run that may go on from a checkpoint, and notes what one that goes on from its own will need.

    Args:
        subject: what is trained.
        resume: the checkpoint to go on from, as in `Run`; None for a fresh beginning.
        resume_strict: whether the callbacks must be those that the checkpoint was saved with.
    """

    def __init__(self, subject: object, *, resume: Source | None = None, resume_strict: bool = False) -> None:
        super().__init__(subject)
        self.loaders: list[Any] = []
        """Of each loop over batches of the present epoch, or else of the last one, its loader."""
        self.loop_random: Any = None
        self.loop_loader: Any = None
        self.packed_past, self.packed_decided = Packed(), Packed()
        """`past` and `decided` as checkpoints have them."""
        self.shares: list[Share] = []
        """Of the present save, what each rank after the first remembers by itself."""
        self._resume, self._strict = resume, resume_strict
        self._resumption: Resumption | None = None

    def go_on(self) -> None:
        """Take back every stop, so that a run that had stopped before it was resumed trains on."""
        self.stops.clear()

    def first_epoch(self, initial_epoch: int, epochs: int) -> int:
        """The epoch to begin with, counted from 0, where the loop by itself would begin with `initial_epoch`."""
        if self.resumed is None:
            return initial_epoch
        if self.position.epochs >= epochs and not self.stopped and self.rank == 0:
            LOG.warning("resumed from %s: all %d epochs are done; to train on, ask for more", self.resumed.path, epochs)
        return max(initial_epoch, self.position.epochs)

    @property
    def to_skip(self) -> int:
        """Batches of the present epoch that were trained on before the run was interrupted, 0 for none.

        An adapter passes over so many without training, then calls `skipped`.
        """
        inside = self._resumption is not None and self._resumption.inside
        return self._resumption.memory.position.batches if inside and self._resumption is not None else 0

    def skipped(self) -> None:
        """The batches to skip are passed over; whatever training them changed is now as it was then."""
        if self._resumption is not None:
            self._resumption.arrive(self.subject)

    def begin_loop(self, loader: Iterable[T]) -> tuple[Iterable[T], int]:
        """A loop over the batches of the epoch begins; what to go through, and the number of its first batch."""
        number = self._loops
        self._loops += 1
        self.loaders[number : number + 1] = [loader]
        resumption = self._resumption
        if resumption is not None and resumption.inside:
            self._counters.done = resumption.first_batch(number)
            self.loop_loader = resumption.memory.loop_loader
            return resumption.rest(number, loader, self.subject), self._counters.done
        if resumption is not None and (state := resumption.loaders.pop(number, None)) is not None:
            with undrawn(self.subject):
                bring_back(loader, state)
        self._counters.done = 0
        if number:
            self._note_random()
        self.loop_loader = state_of(loader) if self._bus.directories else None
        return loader, 0

    def _look(self, mine: Portion = EVERYTHING, without: Collection[Location] = ()) -> Checkpoint | None:
        """Look for the checkpoint."""
        return None if self._resume is None else find(self._resume, self.callbacks.values(), mine, without)

    def _is_named(self, path: Location) -> bool:
        """Whether this checkpoint itself is what the run is to go on from, so that no other takes its place."""
        return self._resume is not None and location(self._resume) == path

    def _take(self, checkpoint: Checkpoint | None) -> None:
        """Let run and subject stand where the checkpoint has them.

        Raises:
            UnreadableCheckpoint: it holds what cannot be read; run and subject are as they were.
        """
        if checkpoint is None:
            return
        resumption = Resumption(checkpoint, self.plugins, self.callbacks, rank=self.rank, world_size=self.world_size)
        if self.rank == 0 and self._strict:
            resumption.tell(strict=True)
        resumption.bring_back(self.subject, self._bus.slots)
        if self.rank == 0:
            resumption.tell(strict=False)
        self._resumption = resumption
        memory, position = resumption.memory, resumption.memory.position
        self.resumed = checkpoint
        self.past = [(epoch, from_plain(metrics)) for epoch, metrics in unpacked(memory.history)]
        self.metrics = self.past[-1][1] if self.past else {}
        self.decided = [(epoch, decision_from_plain(actions)) for epoch, actions in unpacked(memory.decided)]
        self.epoch, self.step = checkpoint.epoch, checkpoint.step
        self._began = self._ended = position.epochs
        self._counters.done = position.batches
        self.batch = max(position.batches - 1, 0)
        self._files = dict.fromkeys(present(map(location, memory.files)))
        self._files[checkpoint.path] = None
        self.stops += resumption.stops()

    def _recall(self) -> None:
        """Let plugins know again what they knew."""
        resumption = self._resumption
        if resumption is not None:
            resumption.recall(self.subject, self._bus.failures)
            if resumption.inside:
                self._began = resumption.memory.position.epochs + 1

    def _stand(self) -> None:
        """The run stands where it was interrupted, or it had stopped before and says so."""
        resumption = self._resumption
        if resumption is None:
            return
        if self.stopped and self.rank == 0:
            LOG.warning(
                "resumed from %s: this run had stopped: %s; it stays finished. To train on, change the settings of "
                "whoever stopped it, or call go_on() of the run",
                resumption.checkpoint.path,
                self.result.reason,
            )
        if not resumption.inside:
            resumption.set_random(self.subject)

    @property
    def _goes_on_inside(self) -> bool:
        """Whether the epoch that begins is one that was interrupted inside."""
        return self._resumption is not None and self._resumption.inside

    def _enter(self) -> None:
        """The interrupted epoch has begun again: what is known of it comes back, and its order is drawn again."""
        resumption = self._resumption
        assert resumption is not None
        memory = resumption.memory
        resumption.recall(self.subject, self._bus.failures)
        resumption.set_random(self.subject, loop=True)
        self.loop_random = from_plain(memory.loop_random)
        self.means.bring_back(from_plain(memory.means))
        self.validated = memory.validated
        self._counters.done = memory.position.batches

    def _note_random(self) -> None:
        if self._bus.directories:
            self.loop_random = random_state(self.subject)
