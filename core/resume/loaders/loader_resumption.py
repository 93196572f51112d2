"""Continue the loops over batches of an interrupted run."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol, TypeVar

from ..rng_state import preserved_rng, restore_rng_state
from ..state import CheckpointState
from .dataloader_state import batch_size_of, is_stateful, iterator_in, takes_turns
from .loop_size import LoopSize, continuation
from .restored_loader import RestoredLoader
from .stream import Stream

T = TypeVar("T")


class Warn(Protocol):
    """Logs a warning about the resume."""

    def __call__(self, problem: str, *values: object) -> None:
        """Log the message with its values, on rank 0."""
        ...


class LoaderResumption:
    """Restores the loader of each loop over batches once.

    Args:
        state: The state of the run that the checkpoint stores.
        ranks: The number of processes that train together now.
        warn: Logs a warning.
    """

    def __init__(self, state: CheckpointState, ranks: int, warn: Warn) -> None:
        self._then = LoopSize(state.world_size, state.planned_batches, state.batch_size)
        self._ranks = ranks
        self._position, self._saved, self._warn = state.position, state.rank_state, warn
        self._states = dict(enumerate(state.rank_state.loaders))
        """Number of a loop over batches to the state of its loader, until the state is restored."""
        self._warned = False
        self._refusals: set[str] = set()
        """What loaders have refused, so that it is reported once."""

    def first_batch(self, loader: object = None, batches: int | None = None) -> int:
        """Return the first batch of the interrupted loop that was not trained on; log if this is not exact.

        Args:
            loader: What the loop iterates over; None if unknown.
            batches: The batches that it gives; None if unknown.
        """
        if isinstance(loader, Stream):  # it counts the batches between two steps, whatever gives them
            return self._position.batches
        now = LoopSize(self._ranks, batches, batch_size_of(loader))
        first, problem = continuation(self._position.batches, self._then, now, in_turn=takes_turns(loader))
        if problem:
            self._warn("%s", problem)
        return first

    def remaining_batches(
        self,
        number: int,
        loader: Iterable[T],
        first: int,
        subject: object,
        reach: Callable[[object], object],
        *,
        stopped: bool = False,
    ) -> Iterator[T]:
        """Iterate over the batches of a loop of the interrupted epoch that were not trained on.

        Args:
            number: The number of the loop over batches in its epoch, counted from 0.
            loader: What the loop iterates over.
            first: What ``first_batch`` returned.
            subject: The object that is trained.
            reach: Called with the subject at the point of the interruption.
            stopped: Whether a decision ends the loop at that point.
        """
        state = self._states.pop(number, None)
        position = self._counts_alike(loader, interrupted=number == self._position.loops)
        begun = self._saved.loop_loader
        if number < self._position.loops:  # this loop was complete
            self._restored(loader, state, subject, state, position=position)
            return
        self._warn_of_position(loader, state)
        continues = position and is_stateful(loader) and "state" in (state or {})
        if not continues:
            self._warn_of_failure(loader, state, first)
            state = begun
        restored = self._restored(loader, state, subject, begun, position=position, skip=first)
        restore_rng_state(self._saved.epoch_rng if self._saved.loop_rng is None else self._saved.loop_rng, subject)
        batches = iter(restored)
        skip = 0 if continues and restored.continues else first
        for done in range(skip):
            try:
                next(batches)
            except StopIteration:
                self._warn("the loader gives only %d batches, but %d of the epoch were trained on", done, skip)
                break
        reach(subject)
        if not stopped:
            yield from batches

    def restore(self, number: int, loader: Iterable[T], subject: object) -> Iterable[T]:
        """Restore the loader of a later loop, if the checkpoint holds its state; no random numbers are drawn.

        Returns:
            What to iterate over.
        """
        state = self._states.pop(number, None)
        self._warn_of_position(loader, state)
        if state is None:
            return loader
        with preserved_rng(subject):
            return self._restored(loader, state, subject, state, position=self._counts_alike(loader, interrupted=False))

    def _restored(
        self, loader: Iterable[T], state: Any, subject: object, begun: Any, *, position: bool, skip: int = 0
    ) -> RestoredLoader[T]:
        """Return the loader with a state; report once if it refuses it."""
        return RestoredLoader(loader, state, subject, begun, self._report, position=position, skip=skip)

    def _report(self, refusal: str) -> None:
        if refusal not in self._refusals:
            self._refusals.add(refusal)
            self._warn("%s", refusal)

    def _counts_alike(self, loader: object, *, interrupted: bool) -> bool:
        """Return whether the loader gives its batches as then, so that its own position is still the same."""
        if isinstance(loader, Stream):
            return True
        size = batch_size_of(loader) if interrupted else None
        return self._then.has_batches_of(LoopSize(self._ranks, batch_size=size))

    def _warn_of_position(self, loader: object, state: Any) -> None:
        """Warn once that an iterator, which the new process has created again, may begin with any batch."""
        knows = is_stateful(loader) and (state is None or "failure" not in state)
        kind = "" if knows or self._warned else iterator_in(loader)
        if kind:
            self._warned = True
            self._warn(
                "the checkpoint cannot tell where the %s that gives the batches was: unless it begins with the first "
                "batch of epoch %d again, samples are trained on twice or never; give run.batches() the loader "
                "itself, or an object with state_dict and load_state_dict",
                kind,
                self._position.epochs + 1,
            )

    def _warn_of_failure(self, loader: object, state: Any, skip: int) -> None:
        failure = None if state is None else state.get("failure")
        if failure and skip:
            self._warn(
                "the loader is drawn from again, without training on the first %d batches, since state_dict() of %s "
                "has failed: %s",
                skip,
                type(loader).__name__,
                failure,
            )
