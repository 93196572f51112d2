"""What a training loop holds: one training run from its first event to its last."""

from __future__ import annotations

from collections.abc import Collection, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self, TypeVar

from .decision import REQUEST, Decision, stop
from .engine.counters import UnobservedLoop
from .engine.plugin_list import CallbackLike
from .engine.signals import DEFAULT
from .errors import SettingsError
from .events import Events
from .metrics.running_means import Reduce
from .settings.registry import subject_for
from .storage.paths import Source

__all__ = ["Run", "watch"]

T = TypeVar("T")


class Run(Events):
    """One training run: a loop states what happens, plugins decide, the run carries it out and tells the loop.

    ```python
    with Run(subject, callbacks) as run:
        for epoch in run.epochs(10):
            for x, y in run.batches(loader):
                run.log(loss=train_on(x, y), count=len(x))
    ```

    Args:
        subject: what is trained, as its adapter presents it; None for a loop that only has numbers.
        callbacks: callbacks, their settings as plain data, or objects with hook implementations; called in this order.
        progress: whether to draw progress and lines per epoch, as far as the callbacks' `verbose` asks for it; without
            it only decisions are printed.
        resume: the checkpoint to go on from; a directory, of which the newest intact one is taken; or "auto", the
            newest that the callbacks have written, and a fresh beginning where there is none. The subject is brought
            back, and every later decision is that of a run that was never interrupted.
        resume_strict: whether to refuse to resume where the callbacks are not those that the checkpoint was saved with.
            Else each difference is said: the new settings win, and what still fits is kept.
        signals: which end the run in order: it finishes the batch, saves (`ModelCheckpoint(save_on=...)`), closes its
            files, and the process goes as the signal would have had it. The same signal again takes effect at once. An
            empty file named "stop" in a directory where the run saves does what Ctrl-C does. Where a job scheduler
            sends another signal first, name it as well: ("SIGINT", "SIGTERM", "SIGUSR1").

    Raises:
        SettingsError: something in the list is wrong or cannot work with this subject; every problem is named.

    >>> with Run() as run:
    ...     for epoch in run.epochs(3):
    ...         run.log(reward=float(epoch))
    ...         if epoch == 1:
    ...             run.stop("seen enough")
    >>> run.history, run.result.reason
    ({'reward': [0.0, 1.0]}, 'seen enough')
    """

    def __enter__(self) -> Self:
        self.begin()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end(error)

    def epochs(
        self, epochs: int, *, initial_epoch: int = 0, validation_freq: int | Collection[int] = 1
    ) -> Iterator[int]:
        """Count the epochs from `initial_epoch` to `epochs` - 1, or until a decision stops the training.

        Args:
            epochs: number of the last epoch, counted from 1.
            initial_epoch: the first epoch, counted from 0.
            validation_freq: which epochs have a validation: every n-th, or these (counted from 1). Metrics whose
                names begin with `val_` are missed in these only.
        """
        self._require("open", "epochs() belongs inside `with run:`")
        self.planned_epochs, self.validation_freq = epochs, validation_freq
        for epoch in range(self.first_epoch(initial_epoch, epochs), epochs):
            if self._ends():
                return
            self.begin_epoch(epoch)
            if self._ends():
                return
            yield epoch
            self.end_epoch()

    def batches(self, loader: Iterable[T], *, accumulate: int | None = 1) -> Iterator[T]:
        """Go through the batches of one epoch, or until a decision stops the training.

        Args:
            loader: any iterable of batches.
            accumulate: batches to one weight update, counted in `step`; None where the loop counts `run.step` itself.

        Raises:
            SettingsError: `accumulate` is below 1.
        """
        self._require("open", "batches() belongs inside `with run:`")
        if accumulate is not None and accumulate < 1:
            raise SettingsError(f"accumulate={accumulate!r}: give the number of batches to one weight update, or None")
        self.planned_batches = _length(loader)
        self._rates = self._learning_rates()  # by the end of the epoch a scheduler may have set the next one's
        go_through = self._tell_batches if self.hears_batches else self._count_batches
        return go_through(*self.begin_loop(loader), accumulate)

    def _tell_batches(self, loader: Iterable[T], first: int, accumulate: int | None) -> Iterator[T]:
        begin, end = self._bus.on_batch_begin or _silent, self._bus.on_batch_end or _silent
        epoch, means, reasons, counters = self.epoch, self.means, self.stops, self._counters
        every_batch, batch = accumulate == 1, first
        counters.batch = first
        for item in loader:
            counters.batch = batch
            if (answers := begin(self, epoch, batch)) is not None:
                self._obey("on_batch_begin", answers)
            yield item
            if every_batch or (accumulate and (batch + 1) % accumulate == 0):
                counters.steps += 1
            counters.done = batch + 1
            if (answers := end(self, epoch, batch, counters.steps, means)) is not None:
                self._obey("on_batch_end", answers)
            batch += 1
            if reasons and self._ends(batch, accumulate):
                return

    def _count_batches(self, loader: Iterable[T], first: int, accumulate: int | None) -> Iterator[T]:
        loop, batch, reasons = UnobservedLoop(accumulate, first), first, self.stops
        self._counters.loops.append(loop)
        try:
            for item in loader:
                yield item
                loop.batch = batch = batch + 1
                if reasons and self._ends(batch, accumulate):
                    break
        finally:  # also where the loop's body breaks
            self._counters.leave(loop)
        self._counters.batch = max(batch - 1, 0)

    def _ends(self, batches: int = 0, accumulate: int | None = 1) -> bool:
        """Whether a decision ends the loop here; a request does so itself, once the gradients at hand are used."""
        if accumulate is None or batches % accumulate == 0:
            self.obey_request()
        return any(each.by != REQUEST for each in self.stops) and self._leaves()

    @contextmanager
    def validation(self) -> Generator[None]:
        """What is logged inside gets the prefix `val_`."""
        self.begin_validation()
        self._validating = True
        try:
            yield
        finally:
            self._validating = False
        self.end_validation()

    def log(
        self, metrics: Mapping[str, Any] | None = None, /, *, count: float = 1, reduce: Reduce = "mean", **named: Any
    ) -> None:
        """Take metrics into the epoch's running means.

        Tensors stay on their device, and are not waited for, until somebody reads a mean.

        Args:
            metrics: metrics by name, where a name is no Python identifier.
            count: number of samples that each value is the mean of; its weight in the epoch's mean.
            reduce: what the epoch makes of the values of all batches and ranks: their "mean", "sum", "max" or "min";
                None, the mean of those of rank 0, where they are the same on every rank already.
            named: metrics by name.

        Raises:
            SettingsError: a value is no number, or the count is not above 0.
        """
        for name, value in {**(metrics or {}), **named}.items():
            prefix = "val_" if self._validating and not name.startswith("val_") else ""
            self.means.add(prefix + name, value, count, reduce)

    def stop(self, reason: str) -> None:
        """End the training in good order: after this batch, with the epoch's end still told."""
        self.decide(stop(reason))

    def decide(self, decision: Decision) -> None:
        """Carry out what the loop itself decides, as if a plugin had asked for it.

        Where several processes train together, whichever of them decides, all carry it out when they meet next: at the
        end of the epoch, at the latest.
        """
        self._require("open", "a run decides only inside `with run:`")
        self._propose(decision.signed("loop"))


def _silent(*_: object) -> None:
    """A hook that nobody hears."""


def _length(loader: Iterable[object]) -> int | None:
    """Number of batches, None where the loader cannot tell: torch's DataLoader has a length that may raise."""
    try:
        return len(loader)  # type: ignore[arg-type]
    except (TypeError, NotImplementedError):
        return None


def watch(
    model: object,
    *rest: Any,
    callbacks: CallbackLike | Sequence[CallbackLike] = (),
    resume: Source | None = None,
    resume_strict: bool = False,
    signals: Iterable[str] = DEFAULT,
    **options: Any,
) -> Run:
    """A run for `model`, whose adapter is found by its type among those installed.

    ```python
    with trainbus.watch(model, optimizer, callbacks=callbacks, resume="auto") as run:
        ...
    ```

    Args:
        model: a model of any framework that has an adapter, or a subject.
        rest: what else the adapter takes, such as PyTorch's optimizers.
        callbacks: as in `Run`.
        resume: as in `Run`.
        resume_strict: as in `Run`.
        signals: as in `Run`.
        options: options of the adapter, by keyword.
    """
    subject = subject_for(model, *rest, **options)
    return Run(subject, callbacks, resume=resume, resume_strict=resume_strict, signals=signals)
