"""Code as users write it; the type checkers of CI read it, nothing runs it."""

from pathlib import Path
from typing import assert_type

import trainbus
from trainbus import Decision, LambdaCallback, Monitor, Result, Run, decision, listens_to
from trainbus.plugins import EarlyStopping, LearningRateScheduler, ModelCheckpoint, ReduceLROnPlateau, TensorBoard
from trainbus.replay import Recording, read, read_all
from trainbus.run_view import RunStateView, RunView


@listens_to("drawn", every=3)
def show(count: int, text: str) -> None:
    """Listen to an event of the loop."""


callbacks = [
    TensorBoard("logs"),
    EarlyStopping(monitor="val_loss", patience=3, verbose=1),
    ModelCheckpoint("best", save_best_only=True, save_freq=10),
    ModelCheckpoint("m-{epoch}", keep=3, keep_last=2, save_freq="10 minutes", save_last=True, save_on=("end",)),
    ReduceLROnPlateau(factor=0.5, min_lr=1e-5),
    ReduceLROnPlateau(min_lr={"learning_rate/0": 1e-5}, groups=("learning_rate/0",), eps=1e-8),
    LearningRateScheduler(lambda epoch, lr: lr * 0.9, verbose=1),
    LearningRateScheduler("decays:halve"),
    LambdaCallback(show, on_epoch_end=lambda: None),
    {"callback": "EarlyStopping"},
]

with Run(None, callbacks) as run:
    for epoch in run.epochs(3):
        assert_type(epoch, int)
        for batch in run.batches([1.0, 2.0]):
            assert_type(batch, float)
            run.log(loss=batch, count=2)
        with run.validation():
            run.log({"a/b": 1.0})
    assert_type(run.result, Result)
    assert_type(run.monitor("loss"), Monitor)
    run.decide(decision.stop("enough") | decision.keep("slot"))
    run.decide(decision.set_learning_rate(0.1) | decision.set_learning_rate({"learning_rate/0": 0.1}))
    run.emit("drawn", text="a sample")
assert_type(decision.stop("x"), Decision)
seen_by_plugins: RunView = run
state_seen_by_plugins: RunStateView = run.state
trainbus.watch(object(), callbacks=EarlyStopping())

EarlyStopping(patiance=3)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
ModelCheckpoint()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
EarlyStopping(mode="up")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
assert_type(read("run"), Recording)
assert_type(read_all("runs", Path("more"), unread=print), list[Recording])
