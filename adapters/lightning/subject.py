"""What Lightning trains, as the subject of a run."""

# Lightning's trainer has few types
# pyright: basic

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..torch import TorchSubject
from .loop_position import LoopPosition


class LightningSubject(TorchSubject):
    """A LightningModule with the optimizers, the schedulers and the position of the loops of its trainer.

    Args:
        trainer: The Lightning trainer; it has set up its optimizers.
        module: The LightningModule.
        probe: As in ``TorchSubject``.
        timeout: As in ``TorchSubject``.
    """

    made_by = "LightningCallback"

    def __init__(self, trainer: Any, module: Any, *, probe: Any = None, timeout: float = 1800) -> None:
        super().__init__(
            module,
            _single(trainer.optimizers),
            scheduler=_single([config.scheduler for config in trainer.lr_scheduler_configs]),
            scaler=getattr(trainer.precision_plugin, "scaler", None),
            probe=probe,
            timeout=timeout,
        )
        self.loops = LoopPosition(trainer)
        self.saved_loops: Mapping[str, Any] | None = None
        """The position of the loops in the checkpoint from which the run is resumed."""
        self._trainer = trainer

    def draws_progress(self) -> bool:
        """Return whether the trainer has a progress bar."""
        return self._trainer.progress_bar_callback is not None

    def run_state(self) -> Mapping[str, Any]:
        """Return the position of the loops."""
        return self.loops.saved()

    def load_run_state(self, state: Mapping[str, Any]) -> None:
        """Keep the position, at which the loops begin once Lightning has set them up."""
        self.saved_loops = state


def _single(listed: list[Any]) -> Any:
    """Return what a list of one holds, as a loop without Lightning gives it; None for an empty list."""
    return (listed or [None])[0] if len(listed) < 2 else listed
