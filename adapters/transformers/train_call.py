"""The call of ``Trainer.train`` that runs a callback: Trainer passes no reference to itself."""

# The types of Transformers are partly unknown
# pyright: basic, reportMissingImports=false, reportAttributeAccessIssue=false

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping
from typing import Any

from transformers import Trainer

from trainbus import LoopError

from ..shared.call_stack import frames, frames_of_all_threads


class TrainCall:
    """One call of ``Trainer.train``, as its frame on the call stack shows it.

    Args:
        trainer: The trainer.
        variables: The local variables of the call.
    """

    def __init__(self, trainer: Trainer, variables: Mapping[str, Any]) -> None:
        self._trainer = weakref.ref(trainer)
        self.resume_from: str | None = variables["resume_from_checkpoint"]
        """The checkpoint from which the trainer has restored itself; None if it begins anew."""
        self._loop = weakref.ref(variables["inner_training_loop"]) if "inner_training_loop" in variables else None
        self.scaler = trainer.accelerator.scaler
        data = trainer.eval_dataset
        self.data_names: tuple[str, ...] = tuple(data) if isinstance(data, dict) else ()
        """The names of the data sets, if the trainer evaluates on several."""
        self._handler = trainer.callback_handler

    @property
    def callbacks(self) -> list[Any]:
        """The callbacks of the trainer, in the order in which it calls them."""
        callbacks: list[Any] = self._handler.callbacks
        return callbacks

    def call_last(self, callback: Any) -> None:
        """Let the trainer call a callback after all others, from its next event on."""
        if self.callbacks[-1] is not callback:
            # a new list, since the trainer iterates over the old one
            self._handler.callbacks = [*(each for each in self.callbacks if each is not callback), callback]

    @classmethod
    def present(cls) -> TrainCall:
        """Return the call that the current thread is in.

        Raises:
            LoopError: There is none.
        """
        for frame in frames():
            if frame.f_code.co_name == "train" and isinstance(frame.f_locals.get("self"), Trainer):
                return cls(frame.f_locals["self"], frame.f_locals)
        raise LoopError("TransformersCallback has its run in trainer.train(); give it to Trainer(callbacks=[...])")

    def when_over(self, function: Callable[[], object]) -> Callable[[], object]:
        """Call a function when the call is over, or the traceback of an error in it is released.

        Args:
            function: The function.

        Returns:
            A function that revokes this.
        """
        loop = None if self._loop is None else self._loop()  # lives as long as the variables of the call
        if loop is None:
            return lambda: None
        finalizer = weakref.finalize(loop, function)
        finalizer.atexit = False
        return finalizer.detach

    def is_running(self) -> bool:
        """Return whether any thread is inside of the call."""
        trainer = self._trainer()
        calls = (each for each in frames_of_all_threads() if each.f_code.co_name == "train")
        return trainer is not None and any(each.f_locals.get("self") is trainer for each in calls)
