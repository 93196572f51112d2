"""The call of ``Trainer.train`` on the stack."""

from __future__ import annotations

import threading
from typing import Any

import pytest
import transformers

from trainbus import LoopError
from trainbus.adapters.transformers.train_call import TrainCall

from .trainers import ROWS, trainer


class Looks(transformers.TrainerCallback):
    """Looks for the call when the training begins."""

    def __init__(self) -> None:
        self.call: Any = None
        self.running: list[bool] = []
        self.over: list[str] = []

    def on_train_begin(self, *given: Any, **parts: Any) -> None:
        self.call = TrainCall.present()
        self.call.when_over(lambda: self.over.append("kept"))
        self.call.when_over(lambda: self.over.append("revoked"))()
        thread = threading.Thread(target=lambda: self.running.append(self.call.is_running()))
        thread.start()
        thread.join()

    def on_train_end(self, *given: Any, **parts: Any) -> None:
        self.over.append("end")


class Named(transformers.Trainer):
    """A trainer with a ``train`` of its own."""

    def train(self, *given: Any, **named: Any) -> Any:
        return super().train(*given, **named)


@pytest.mark.parametrize("kind", [transformers.Trainer, Named])
def test_the_call_is_found_while_it_runs(kind: type[transformers.Trainer]) -> None:
    """From any thread; a function is called when it is over."""
    looks = Looks()
    training = trainer([looks], kind=kind, num_train_epochs=1, eval_dataset={"a": ROWS[:2], "b": ROWS[2:4]})
    training.train()

    assert looks.running == [True]
    assert not looks.call.is_running()
    assert looks.over == ["end", "kept"]
    assert looks.call.resume_from is None
    assert looks.call.data_names == ("a", "b")
    assert looks in looks.call.callbacks


def test_without_a_call_there_is_none() -> None:
    with pytest.raises(LoopError, match="callbacks="):
        TrainCall.present()
