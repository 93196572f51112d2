"""A loader with the state of a checkpoint, which is drawn from again if it refuses this state."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Generic, TypeVar

from ..rng_state import get_rng_state, set_rng_state
from .dataloader_state import restore_loader

T = TypeVar("T")


class RestoredLoader(Generic[T]):
    """Restores the state of a loader; if the loader refuses it, only its random generators are restored.

    A loader may refuse its state in ``load_state_dict`` or, as torchdata's does, when it is iterated over. It then gets
    back the attributes that it had before.

    Args:
        loader: The loader.
        state: Its state in the checkpoint; None if there is none.
        subject: The object that is trained; it may hold random generators.
        begun: The state whose generators are used instead.
        report: Called with one line if the loader or one of its generators refuses its state.
        position: Whether the loader may continue from its own ``state_dict``, which counts its batches.
        skip: The batches that are drawn and discarded if the loader refuses its state.
    """

    def __init__(
        self,
        loader: Iterable[T],
        state: Any,
        subject: object,
        begun: Any,
        report: Callable[[str], object],
        *,
        position: bool = True,
        skip: int = 0,
    ) -> None:
        self._loader, self._subject, self._begun, self._report = loader, subject, begun, report
        self._skip = skip
        self._attributes: dict[str, Any] = getattr(loader, "__dict__", {})
        self._before = dict(self._attributes)
        self.continues = False
        """Whether the loader continues after the last batch of its state."""
        try:
            self.continues = restore_loader(loader, state, position=position, report=report)
        except Exception as error:  # noqa: BLE001 - whatever a loader raises; it is drawn from again
            self._begin_again(error)

    def __iter__(self) -> Iterator[T]:
        if not self.continues:
            return iter(self._loader)
        rng = get_rng_state(self._subject)
        try:
            return iter(self._loader)
        except Exception as error:  # noqa: BLE001 - an error of the loader itself is raised again below
            set_rng_state(rng, self._subject)
            self._begin_again(error)
            return iter(self._loader)

    def _begin_again(self, error: Exception) -> None:
        self.continues = False
        self._attributes.clear()
        self._attributes.update(self._before)
        kind, done = type(self._loader).__name__, "its first batch comes next"
        if self._skip:
            done = f"the loader is drawn from again, without training on the first {self._skip} batches"
        self._report(f"{done}, since {kind} refuses its saved state: {type(error).__name__}: {error}")
        restore_loader(self._loader, self._begun, position=False, report=self._report)
