"""The batches of a loop by steps: a loader that is iterated over again and again."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from typing import Annotated, Any, Generic, TypeVar, cast

from pydantic import BaseModel, Field, ValidationError

from ...limits import BATCHES, RANKS
from ...settings.arguments import is_iterable
from ..rng_state import get_rng_state, restore_rng_state
from ..serialization import compress_arrays, to_json_data
from .dataloader_state import batch_size_of, capture_loader, is_stateful, iterator_in, length_of, takes_turns
from .loop_size import LoopSize, continuation
from .restored_loader import RestoredLoader

T = TypeVar("T")

Count = Annotated[int, Field(strict=True, ge=0, le=BATCHES)]


class SavedStream(BaseModel):
    """What a checkpoint stores of a stream."""

    passes: Count
    done: Count
    interval: Count
    drawn: Count
    begun: str
    """The generators and the loader when the pass began, as JSON; empty if none has begun."""
    now: str
    """A stateful loader as it is now, as JSON; empty for others."""
    ranks: Annotated[int, Field(strict=True, ge=1, le=RANKS)]
    batches: Count | None
    batch_size: Count | None


class Stream(Generic[T]):
    """The batches of a loader, pass after pass, in intervals.

    Each pass iterates over the loader anew, which may shuffle it. What has ``set_epoch``, such as PyTorch's
    ``DistributedSampler``, is called with the number of the pass before that. An interval may begin in the middle of a
    pass. The stream saves its position, so that a resumed run goes on with the next batch.

    Args:
        loader: Any iterable of batches; or a function without arguments that returns a batch.
        subject: What is trained; it may hold random generators.
        ranks: The number of processes that train together.
        report: Called with one line if the stream cannot go on exactly where the checkpoint's run was.
        saved: Whether a checkpoint may save its position.

    >>> stream = Stream([1, 2, 3])
    >>> stream.begin(0, 2)
    >>> list(stream)
    [1, 2]
    >>> stream.begin(1, 4)
    >>> list(stream), stream.passes
    ([3, 1, 2, 3], 1)
    """

    # without a __dict__, nothing that searches a loader for its generators searches the subject
    __slots__ = (
        "_batches",
        "_begun",
        "_done",
        "_ranks",
        "_report",
        "_saved",
        "_subject",
        "drawn",
        "ended",
        "interval",
        "loader",
        "passes",
        "size",
    )

    def __init__(
        self,
        loader: Iterable[T] | Callable[[], T],
        subject: object = None,
        ranks: int = 1,
        report: Callable[[str], object] = lambda _: None,
        *,
        saved: bool = True,
    ) -> None:
        function = None if is_iterable(loader) else cast("Callable[[], T]", loader)
        self.loader: Iterable[T] = cast("Iterable[T]", loader) if function is None else _Calls(function)
        self.passes = 0
        """Complete passes over the loader."""
        self.interval, self.drawn = 0, 0
        """The present interval, and the batches of it that were drawn."""
        self.size: int | None = None
        """The batches of the interval; None if the loop counts otherwise."""
        self.ended = False
        """Whether the loader has no more batches, also when it is iterated over anew."""
        self._subject, self._ranks, self._report = subject, ranks, report
        self._done = 0
        """Batches of the present pass that were drawn."""
        self._saved = saved
        self._begun: dict[str, Any] | str | None = None
        """The generators and the loader when the pass began; as text after they were saved; None if none has begun."""
        self._batches: Iterator[T] | None = None

    def begin(self, interval: int, size: int | None) -> None:
        """Begin an interval of ``size`` batches; None if its end is not a number of batches."""
        self.interval, self.drawn, self.size = interval, 0, size

    @property
    def at_last(self) -> bool:
        """Whether the last batch of the interval was drawn."""
        return self.size is not None and self.drawn >= self.size

    def __len__(self) -> int:
        if self.size is None:
            raise TypeError("an interval that ends after an unknown number of batches has no length")
        return self.size

    def __iter__(self) -> Iterator[T]:
        while not self.at_last:
            if self._batches is None:
                self._batches = self._begin_pass()
            for batch in self._batches:
                self._done += 1
                self.drawn += 1
                yield batch
                if self.drawn == self.size:
                    return
            self._batches = None
            if not self._done:  # the pass before was complete, too, or there was none
                self.ended = True
                return
            self.passes, self._done = self.passes + 1, 0

    def _begin_pass(self) -> Iterator[T]:
        if self.passes:
            _set_epoch(self.loader, self.passes)
        if self._saved:
            self._begun = {"rng": get_rng_state(self._subject), "loader": capture_loader(self.loader)}
        return iter(self.loader)

    def _begun_as_text(self) -> str:
        """Return the state in which the pass began, which is encoded once: most passes are never saved."""
        if isinstance(self._begun, dict):
            begun = {**self._begun, "rng": to_json_data(self._begun["rng"])}
            self._begun = json.dumps(compress_arrays(begun))
        return self._begun or ""

    def state_dict(self) -> dict[str, Any]:
        """Return the position."""
        return SavedStream(
            passes=self.passes,
            done=self._done,
            interval=self.interval,
            drawn=self.drawn,
            begun=self._begun_as_text(),
            now=json.dumps(capture_loader(self.loader)) if is_stateful(self.loader) else "",
            ranks=self._ranks,
            batches=length_of(self.loader),
            batch_size=batch_size_of(self.loader),
        ).model_dump()

    def load_state_dict(self, saved: Any) -> None:
        """Go on after the batch that was drawn last; the loader draws the batches before it again, or skips them.

        Afterwards, the random generators are somewhere in the pass; the caller restores them.
        """
        try:
            state = SavedStream.model_validate(saved)
        except ValidationError as error:
            raise ValueError(" ".join(str(error).split())) from None
        self.passes = state.passes
        self.drawn = state.drawn if state.interval == self.interval else 0
        if self.passes:
            _set_epoch(self.loader, self.passes)
        if not state.begun:
            return
        begun, now = json.loads(state.begun), json.loads(state.now or "null")
        then = LoopSize(state.ranks, state.batches, state.batch_size)
        present = LoopSize(self._ranks, length_of(self.loader), batch_size_of(self.loader))
        skip, problem = continuation(state.done, then, present, in_turn=takes_turns(self.loader))
        if problem:
            self._report(problem)
        self._restore(begun, now, skip, continues=then.has_batches_of(present))

    def _restore(self, begun: Any, now: Any, skip: int, *, continues: bool) -> None:
        loader, its_begin = self.loader, begun["loader"]
        continues = continues and is_stateful(loader) and "state" in (now or {})
        restored = RestoredLoader(
            loader,
            now if continues else its_begin,
            self._subject,
            its_begin,
            self._report,
            position=continues,
            skip=skip,
        )
        restore_rng_state(begun["rng"], self._subject)
        self._begun = json.dumps(begun)
        self._batches = iter(restored)
        self._done = skip
        if not (continues and restored.continues):
            self._skip(skip)

    def _skip(self, batches: int) -> None:
        kind = iterator_in(self.loader)
        if kind and batches:
            self._report(
                f"{batches:,} batches are drawn again from the {kind} that gives the batches: it must begin as it did "
                "then. To go on at once, give run.steps() the loader itself, a function that returns a batch, or an "
                "object with state_dict and load_state_dict"
            )
        for done in range(batches):
            if next(cast("Iterator[Any]", self._batches), _END) is _END:
                self._report(f"the loader gives only {done} batches, but {batches} of the pass were trained on")
                return


_END = object()


class _Calls(Generic[T]):
    """The batches that a function returns, one at each call; it has no position."""

    def __init__(self, function: Callable[[], T]) -> None:
        self._function = function

    def __iter__(self) -> Iterator[T]:
        while True:
            try:
                batch = self._function()
            except StopIteration:  # as of ``lambda: next(iterator)``
                return
            yield batch

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, _: Any) -> None:
        """Go on: what the function draws depends on the random generators alone."""


def _set_epoch(loader: Any, number: int) -> None:
    """Say to the loader, else to its sampler and its dataset, which pass begins, as a loop over epochs does."""
    batches = getattr(loader, "batch_sampler", None)
    parts = [loader, getattr(loader, "sampler", None), batches, getattr(batches, "sampler", None)]
    parts.append(getattr(loader, "dataset", None))
    called: list[Any] = []
    for part in parts:
        call = getattr(part, "set_epoch", None)
        if callable(call) and not any(part is each for each in called):
            called.append(part)
            call(number)
            if part is loader:  # Accelerate's loaders pass it on
                return
