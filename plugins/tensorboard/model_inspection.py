"""Histograms and images of a subject's weights, gradients and layer outputs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, TypeAlias

from trainbus.capabilities import HasActivations, HasGradients, HasWeights, missing, supports
from trainbus.failures import LOG
from trainbus.resume.rng_state import preserved_rng

from .settings import TensorBoardSettings
from .writer import summaries
from .writer.buffer_pool import BufferPool
from .writer.event_writer import MAX_BYTES, Note, Summary
from .writer.histogram import HistogramAccumulator

_CHUNK_BYTES = 4 << 20
"""Layer outputs are passed to the writing thread in chunks of this size, since each chunk costs a thread switch."""


Put: TypeAlias = Callable[[int, Callable[[Any], Summary], Any, int], bool]
"""Queues an event for the writing thread: its step, what makes it from the material, the material and its bytes.

Returns whether there is room for it.
"""


class ModelInspector:
    """Writes histograms and images of one subject.

    Args:
        subject: The object that is trained.
        put: Gives material to the writing thread.
        note: Reports what cannot be shown, and why.
        settings: The options of the callback.
    """

    def __init__(self, subject: object, put: Put, note: Note, settings: TensorBoardSettings) -> None:
        self.subject, self.put, self.note, self.batch_size = subject, put, note, settings.batch_size
        self.every = every = settings.histogram_freq
        self.images = settings.max_images if settings.write_images else 0
        self.shown = {"weights"}
        """The requested data that can be shown."""
        if every and self._can_show("activations", HasActivations):
            self.shown.add("activations")
        if every and settings.write_grads and self._can_show("gradients", HasGradients, required=True):
            self.shown.add("gradients")
        self.read_gradients: Callable[[], Iterable[tuple[str, Any]]] | None = None
        self.buffers = BufferPool(MAX_BYTES)
        self.warned = False
        if settings.write_grads and not every:
            LOG.warning("TensorBoard: no histograms of gradients: write_grads needs histogram_freq=1 or more")

    def is_due(self, epoch: int) -> bool:
        """Return whether this epoch, counted from 0, is inspected."""
        return bool(self.every) and epoch % self.every == 0

    def begin_epoch(self, epoch: int) -> None:
        """Start to collect gradients if the epoch is due."""
        self.read_gradients = None
        if self.is_due(epoch):
            self._try("gradients", self._collect_gradients)

    def end_epoch(self, epoch: int, step: int) -> None:
        """Show all requested data if the epoch is due."""
        if not self.is_due(epoch):
            return
        self.show_weights(step, histograms=True)
        self._try("gradients", lambda: self._show_gradients(step))
        self._try("activations", lambda: self._show_activations(step))

    def show_weights(self, step: int, *, histograms: bool) -> None:
        """Show every weight as it is now, with images if they are asked for."""
        self._try("weights", lambda: self._show_weights(step, histograms=histograms))

    def _show_weights(self, step: int, *, histograms: bool) -> None:
        subject = self.subject
        if not supports(subject, HasWeights):
            return
        for name, array in subject.weights():
            kept = self.buffers.copy(array)  # the next update changes the weight
            if histograms:
                self.put(step, partial(summaries.histograms, f"{name}/histogram"), kept, kept.nbytes)
            if self.images:
                make = partial(summaries.images, f"{name}/image", maximum=self.images)
                self.put(step, make, kept, kept.nbytes)

    def _try(self, what: str, show: Callable[[], None]) -> None:
        """Show data of one kind if possible; after a failure, do not try this kind again."""
        if what not in self.shown:
            return
        try:
            show()
        except Exception as error:  # noqa: BLE001 - a missing image must not end the training
            self.note(f"no {what} from here on", error)
            self.shown.remove(what)

    def _collect_gradients(self) -> None:
        if isinstance(self.subject, HasGradients):
            self.read_gradients = self.subject.hold_gradients()

    def _show_gradients(self, step: int) -> None:
        if self.read_gradients is None:
            return
        found = list(self.read_gradients())
        if not found and not self.warned:
            self.warned = True
            LOG.warning("TensorBoard: no histograms of gradients: no weight had a gradient when it was updated")
        for name, array in found:
            self.put(step, partial(summaries.histograms, f"{name}/gradient"), array, array.nbytes)

    def _show_activations(self, step: int) -> None:
        if not isinstance(self.subject, HasActivations):
            return
        accumulators: defaultdict[str, HistogramAccumulator] = defaultdict(HistogramAccumulator)
        incomplete: set[HistogramAccumulator] = set()
        chunk: list[tuple[HistogramAccumulator, Any]] = []
        size = 0

        def put_chunk() -> None:
            if not self.put(step, _accumulate, chunk, size):
                incomplete.update(accumulator for accumulator, _ in chunk)

        with preserved_rng(self.subject):
            for name, array in self.subject.activations(self.batch_size):
                chunk.append((accumulators[name], array))
                size += array.nbytes
                if size >= _CHUNK_BYTES:
                    put_chunk()
                    chunk, size = [], 0
        put_chunk()
        for name, accumulator in accumulators.items():
            if accumulator not in incomplete:
                self.put(step, partial(summaries.accumulated_histogram, f"{name}/activation"), accumulator, 0)

    def _can_show(self, what: str, capability: type, *, required: bool = False) -> bool:
        """Return whether the subject has the capability; if it is required, warn about what is missing."""
        why = missing(self.subject, capability)
        if isinstance(self.subject, capability):
            if why is not None:
                LOG.warning("TensorBoard: no histograms of %s: %s", what, why)
        elif required:
            LOG.warning("TensorBoard: no histograms of %s: this model provides none", what)
        return why is None


def _accumulate(pairs: Iterable[tuple[Any, Any]]) -> list[Any]:
    """Add arrays to their histograms; no event yet, since more may follow."""
    for accumulator, array in pairs:
        accumulator.add(array)
    return []
