"""What is seen inside a subject every so many epochs: its weights, their gradients, what its layers put out."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, Protocol

from trainbus.capabilities import HasActivations, HasGradients, HasWeights, missing
from trainbus.failures import LOG
from trainbus.resume.rng_state import preserved_rng

_PIECE = (
    4 << 20
)  # bytes of what layers put out that are handed over together, since each time costs a switch of threads


class Put(Protocol):
    """Hands over what is to be made into a message by the thread that writes."""

    def __call__(self, step: int, make: Callable[[Any], Any], material: Any, size: int = 0) -> bool:
        """At this step, `make(material)`; `size` is the material's in bytes. Whether there was room for it."""
        ...


class Inspection:
    """Has the inside of one subject shown, as histograms and pictures.

    Args:
        subject: what is trained.
        put: where to.
        note: hears what is lost, and why.
        every: epochs between two looks, the first in the first epoch; 0 for none.
        batch_size: samples at a time that are run through the subject to see what its layers put out.
        gradients: whether gradients are wanted.
        images: most pictures of one weight that are wanted.
    """

    def __init__(
        self,
        subject: object,
        put: Put,
        note: Callable[[str, Exception], object],
        *,
        every: int,
        batch_size: int,
        gradients: bool,
        images: int,
    ) -> None:
        from .writer.buffers import Buffers  # noqa: PLC0415 - NumPy
        from .writer.event_writer import MOST_BYTES  # noqa: PLC0415 - tensorboardX imports PyTorch

        self.subject, self.put, self.note = subject, put, note
        self.every, self.batch_size, self.images = every, batch_size, images
        self.seen = {"weights"}
        """What can be seen, and is wanted."""
        if every and self._can("activations", HasActivations):
            self.seen.add("activations")
        if every and gradients and self._can("gradients", HasGradients, wanted=True):
            self.seen.add("gradients")
        self.held: Callable[[], Iterable[tuple[str, Any]]] | None = None
        self.buffers = Buffers(MOST_BYTES)
        self.complained = False
        if gradients and not every:
            LOG.warning("TensorBoard: no histograms of gradients: write_grads needs histogram_freq=1 or more")

    def due(self, epoch: int) -> bool:
        """Whether this epoch, counted from 0, is looked at."""
        return bool(self.every) and epoch % self.every == 0

    def begin_epoch(self, epoch: int) -> None:
        """The epoch begins: where it is due, its gradients are held."""
        self.held = None
        if self.due(epoch):
            self._look("gradients", self._hold_gradients)

    def end_epoch(self, epoch: int, step: int) -> None:
        """The epoch is over: where it is due, show all that is wanted."""
        if not self.due(epoch):
            return
        self.show_weights(step, histograms=True)
        self._look("gradients", lambda: self._show_gradients(step))
        self._look("activations", lambda: self._show_activations(step))

    def show_weights(self, step: int, *, histograms: bool) -> None:
        """Show every weight as it is now, and its pictures where they are wanted."""
        self._look("weights", lambda: self._show_weights(step, histograms=histograms))

    def _show_weights(self, step: int, *, histograms: bool) -> None:
        from .writer.summaries import histograms as counted  # noqa: PLC0415 - tensorboardX imports PyTorch
        from .writer.summaries import images as pictured  # noqa: PLC0415

        subject = self.subject
        if not isinstance(subject, HasWeights) or missing(subject, HasWeights) is not None:
            return
        for name, array in subject.weights():
            kept = self.buffers.copy(array)  # the next step changes it
            if histograms:
                self.put(step, partial(counted, f"{name}/histogram"), kept, kept.nbytes)
            if self.images:
                self.put(step, partial(pictured, f"{name}/image", most=self.images), kept, kept.nbytes)

    def _look(self, what: str, look: Callable[[], None]) -> None:
        """Look, where that can be seen; what fails once is not tried again."""
        if what not in self.seen:
            return
        try:
            look()
        except Exception as error:  # noqa: BLE001 - training is worth more than its pictures
            self.note(f"no {what} from here on", error)
            self.seen.remove(what)

    def _hold_gradients(self) -> None:
        if isinstance(self.subject, HasGradients):
            self.held = self.subject.hold_gradients()

    def _show_gradients(self, step: int) -> None:
        from .writer.summaries import histograms  # noqa: PLC0415 - as above

        if self.held is None:
            return
        found = list(self.held())
        if not found and not self.complained:
            self.complained = True
            LOG.warning("TensorBoard: no histograms of gradients: none was there when the weights were updated")
        for name, array in found:
            self.put(step, partial(histograms, f"{name}/gradient"), array, array.nbytes)

    def _show_activations(self, step: int) -> None:
        from .writer.histogram import Tally  # noqa: PLC0415 - NumPy
        from .writer.summaries import tallied  # noqa: PLC0415 - as above

        if not isinstance(self.subject, HasActivations):
            return
        tallies: dict[str, Tally] = {}
        partly: set[str] = set()
        pairs: list[tuple[str, Any]] = []

        def hand_over() -> None:
            counted = [(tallies.setdefault(name, Tally()), array) for name, array in pairs]
            if not self.put(step, _count, counted, sum(array.nbytes for _, array in pairs)):
                partly.update(name for name, _ in pairs)
            pairs.clear()

        size = 0
        with preserved_rng(self.subject):
            for name, array in self.subject.activations(self.batch_size):
                pairs.append((name, array))
                size += array.nbytes
                if size >= _PIECE:
                    hand_over()
                    size = 0
        hand_over()
        for name, tally in tallies.items():
            if name not in partly:
                self.put(step, partial(tallied, f"{name}/activation"), tally)

    def _can(self, what: str, capability: type, *, wanted: bool = False) -> bool:
        """Whether the subject shows it; where it could, or where it was asked for, a line says what is missing."""
        why = missing(self.subject, capability)
        if isinstance(self.subject, capability):
            if why is not None:
                LOG.warning("TensorBoard: no histograms of %s: %s", what, why)
        elif wanted:
            LOG.warning("TensorBoard: no histograms of %s: %s knows none", what, type(self.subject).__name__)
        return why is None


def _count(pairs: Iterable[tuple[Any, Any]]) -> list[Any]:
    """No message yet: the last slice makes it."""
    for tally, array in pairs:
        tally.add(array)
    return []
