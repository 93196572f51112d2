"""How a run goes on from a checkpoint: where it stands, what it carries to its end, which batches it passes over."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any, TypeVar

from ..checkpoints import Checkpoint
from ..failures import LOG
from ..resume.dataloader_state import capture_loader, restore_loader
from ..resume.resumption import Resumption, find
from ..resume.rng_state import get_rng_state, preserved_rng
from ..resume.serialization import CompressedLog, decompress_log, from_json_data
from ..resume.state import RankState, decision_from_json
from ..storage.backend import existing
from ..storage.paths import Location, Source, location
from ..storage.sharded_directory import EVERY_PART, VerificationShare
from .run_state import RunState

__all__ = ["Continuation"]

T = TypeVar("T")


class Continuation(RunState):
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
        self.packed_past, self.packed_decided = CompressedLog(), CompressedLog()
        """`past` and `decided` as checkpoints have them."""
        self.shares: list[RankState] = []
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
            with preserved_rng(self.subject):
                restore_loader(loader, state)
        self._counters.done = 0
        if number:
            self._note_random()
        self.loop_loader = capture_loader(loader) if self._bus.directories else None
        return loader, 0

    def _look(self, mine: VerificationShare = EVERY_PART, without: Collection[Location] = ()) -> Checkpoint | None:
        """Look for the checkpoint."""
        return None if self._resume is None else find(self._resume, self.callbacks.values(), mine, without)

    def _take(self, checkpoint: Checkpoint | None) -> None:
        """Let run and subject stand where the checkpoint has them."""
        if checkpoint is None:
            return
        resumption = self._resumption = Resumption(
            checkpoint, self.plugins, self.callbacks, rank=self.rank, world_size=self.world_size
        )
        if self.rank == 0:
            resumption.tell(strict=self._strict)
        resumption.restore_subject(self.subject, self._bus.slots)
        memory, position = resumption.memory, resumption.memory.position
        self.resumed = checkpoint
        self.past = [(epoch, from_json_data(metrics)) for epoch, metrics in decompress_log(memory.history)]
        self.metrics = self.past[-1][1] if self.past else {}
        self.decided = [(epoch, decision_from_json(actions)) for epoch, actions in decompress_log(memory.decided)]
        self.epoch, self.step = checkpoint.epoch, checkpoint.step
        self._began = self._ended = position.epochs
        self._counters.done = position.batches
        self.batch = max(position.batches - 1, 0)
        self._files = dict.fromkeys(existing(map(location, memory.files)))
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
        self.loop_random = from_json_data(memory.loop_random)
        self.means.bring_back(from_json_data(memory.means))
        self.validated = memory.validated
        self._counters.done = memory.position.batches

    def _note_random(self) -> None:
        if self._bus.directories:
            self.loop_random = get_rng_state(self.subject)
