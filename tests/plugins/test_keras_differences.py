"""Where trainbus deliberately differs from Keras 3.15.1: what Keras does, and what trainbus does.

``docs/differences-from-keras.md`` lists these differences.
"""

from __future__ import annotations

import math
from typing import Any

import keras
import numpy as np
import pytest

import trainbus
from trainbus import MissingMetric, Run, SettingsError
from trainbus.plugins import EarlyStopping, ModelCheckpoint, ReduceLROnPlateau

from .keras_runs import COMPARABLE, Trained, keras_run, trainbus_run

pytestmark = COMPARABLE


def test_difference_nan_is_never_the_best() -> None:
    """Keras keeps an initial NaN as the best value forever; trainbus waits for the first number."""
    history, options = [math.nan, 4.0, 3.0, 2.0, 1.0], {"patience": 3, "restore_best_weights": True}
    theirs, epochs = keras_run(keras.callbacks.EarlyStopping(**options), history)
    assert (len(epochs), theirs.restored) == (4, 0), "Keras stops while all improves, and restores the NaN epoch"
    mine, epochs, _ = trainbus_run(EarlyStopping(**options), history)
    assert (len(epochs), mine.restored) == (5, 4)

    _, rates = keras_run(keras.callbacks.ReduceLROnPlateau(patience=2), history)
    assert rates[-1] == pytest.approx(0.001), "Keras cuts the rate forever"
    assert trainbus_run(ReduceLROnPlateau(patience=2), history)[1][-1] == pytest.approx(0.1)

    theirs, _ = keras_run(keras.callbacks.ModelCheckpoint("best.keras", save_best_only=True), history)
    assert [position[0] for position, _ in theirs.saved] == [0], "Keras saves the NaN epoch, and never again"
    mine, _, _ = trainbus_run(ModelCheckpoint("best.keras", save_best_only=True), history)
    assert [position[0] for position, _ in mine.saved] == [1, 2, 3, 4]


def test_difference_infinity_is_never_the_best() -> None:
    """One -inf in the minimized metric is unbeatable for Keras; for trainbus it is as bad as NaN."""
    history, options = [3.0, -math.inf, 2.0, 1.0], {"patience": 2, "restore_best_weights": True}
    assert keras_run(keras.callbacks.EarlyStopping(**options), history)[0].restored == 1
    assert trainbus_run(EarlyStopping(**options), history)[0].restored == 3


def test_difference_no_best_epoch_restores_nothing() -> None:
    """If no value was finite, Keras restores the first epoch; trainbus leaves the weights as they are."""
    history, options = [math.nan, math.nan], {"restore_best_weights": True}
    assert keras_run(keras.callbacks.EarlyStopping(**options), history)[0].restored == 0
    assert trainbus_run(EarlyStopping(**options), history)[0].restored is None


def test_difference_a_missing_metric_never_saves_the_best() -> None:
    """With save_best_only Keras overwrites the best file in each epoch without the metric; trainbus leaves it."""
    history = [1.0, None, 2.0]
    theirs, _ = keras_run(keras.callbacks.ModelCheckpoint("best.keras", save_best_only=True), history)
    assert [position[0] for position, _ in theirs.saved] == [0, 1]
    mine, _, _ = trainbus_run(ModelCheckpoint("best.keras", save_best_only=True), history)
    assert [position[0] for position, _ in mine.saved] == [0]


def test_difference_a_metric_that_is_never_logged_is_an_error() -> None:
    """Keras warns in every epoch and continues; trainbus raises at the first epoch end that lacks it."""
    stopper = keras.callbacks.EarlyStopping(monitor="lss", mode="min")
    theirs, epochs = keras_run(stopper, [1.0] * 5)
    assert (len(epochs), theirs.stop_training) == (5, False)
    with pytest.raises(MissingMetric, match=r"'lss' is not logged; did you mean 'loss'\?"):
        trainbus_run(EarlyStopping(monitor="lss", mode="min"), [1.0])


def test_difference_a_validation_that_never_happens_is_an_error() -> None:
    """Without any validation Keras waits for val_loss forever; trainbus raises when the first epoch ends."""
    theirs, epochs = keras_run(keras.callbacks.EarlyStopping(), [None] * 5)
    assert (len(epochs), theirs.stop_training) == (5, False)
    run = Run(Trained(), EarlyStopping(), verbose=0)
    run.state.validation_freq = ()
    run.begin()
    run.begin_epoch(0)
    with pytest.raises(MissingMetric, match="there was no validation"):
        run.end_epoch({"loss": 1.0})


def test_difference_names_determine_directions() -> None:
    """Without a metric object Keras fails when the first epoch ends; trainbus uses the name, or fails before."""
    with pytest.raises(ValueError, match="isn't able to automatically determine"):
        keras_run(keras.callbacks.EarlyStopping(monitor="val_f1"), [1.0])
    assert Run(None, EarlyStopping(monitor="val_f1")).monitor("val_f1").direction == "max"
    with pytest.raises(trainbus.UnknownDirection):
        Run(None, EarlyStopping(monitor="val_gizmo"))


def test_difference_a_validation_metric_in_a_path_may_be_missing() -> None:
    """A path with {val_loss} fails in Keras in an epoch without validation; trainbus writes nan if another had one."""
    with pytest.raises(KeyError, match="Failed to format this callback filepath"):
        keras_run(keras.callbacks.ModelCheckpoint("{val_loss:.1f}.keras"), [None, 1.0])
    _, _, run = trainbus_run(ModelCheckpoint("{val_loss:.1f}.keras"), [None, 1.0])
    assert [str(each.path) for each in run.state.checkpoints] == ["nan.keras", "1.0.keras"]


def test_difference_the_best_can_be_saved_at_batches() -> None:
    """Keras fails at the second save of save_best_only with an integer save_freq; trainbus saves the best."""
    options: dict[str, Any] = {"monitor": "loss", "save_best_only": True, "save_freq": 2}
    checkpoint = keras.callbacks.ModelCheckpoint("best.keras", **options)
    checkpoint.set_model(Trained())
    checkpoint.on_epoch_begin(0)
    for batch in range(3):
        checkpoint.on_train_batch_end(batch, {"loss": 1.0 - batch / 8})
    with pytest.raises(TypeError, match="'NoneType' object is not callable"):
        checkpoint.on_train_batch_end(3, {"loss": 0.5})

    model = Trained()
    run = Run(model, ModelCheckpoint("best.keras", **options), verbose=0)
    with run:
        run.begin_epoch(0)
        for batch in range(6):
            model.position = (0, batch)
            run.end_batch(batch, {"loss": 1.0 - batch / 8 if batch < 4 else 9.0})
    assert [position[1] for position, _ in model.saved] == [1, 3]


def test_difference_a_save_waits_for_a_metric_that_is_unknown_at_batches() -> None:
    """A val_ metric is never known at a batch: Keras saves every time, trainbus once, when the epoch ends."""
    options: dict[str, Any] = {"save_best_only": True, "save_freq": 1}
    checkpoint, theirs = keras.callbacks.ModelCheckpoint("best.keras", **options), Trained()
    checkpoint.set_model(theirs)
    checkpoint.on_epoch_begin(0)
    with pytest.warns(UserWarning, match="Can save best model only with val_loss available"):
        checkpoint.on_train_batch_end(0, {"loss": 1.0})
    assert len(theirs.saved) == 1

    mine = Trained()
    run = Run(mine, ModelCheckpoint("best.keras", **options), verbose=0)
    run.begin()
    run.begin_epoch(0)
    run.end_batch(0, {"loss": 1.0})
    assert mine.saved == []
    run.end_epoch({"loss": 1.0, "val_loss": 1.0})
    assert len(mine.saved) == 1


def test_difference_comparisons_in_double_precision() -> None:
    """Keras compares in float32 by default; trainbus in double precision."""
    keras.config.set_floatx("float32")
    history, options = [1.0, 1.0 - 1e-9, 1.0 - 2e-9], {"patience": 1}
    assert len(keras_run(keras.callbacks.EarlyStopping(**options), history)[1]) == 2
    assert len(trainbus_run(EarlyStopping(**options), history)[1]) == 3


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("EarlyStopping", {"patience": -1}, r"patience=-1"),
        ("ReduceLROnPlateau", {"factor": 0}, r"factor=0"),
        ("ReduceLROnPlateau", {"factor": -1}, r"factor=-1"),
        ("ReduceLROnPlateau", {"patience": -1}, r"patience=-1"),
        ("ReduceLROnPlateau", {"cooldown": -1}, r"cooldown=-1"),
        ("ReduceLROnPlateau", {"min_lr": -1}, r"min_lr=-1"),
        ("ReduceLROnPlateau", {"epsilon": 0.1}, r"epsilon: unknown option"),
        ("ModelCheckpoint", {"filepath": "m.keras", "save_freq": 0}, r"save_freq"),
        ("ModelCheckpoint", {"filepath": "m.keras", "save_freq": True}, r"save_freq=True"),
    ],
)
def test_difference_meaningless_options_are_rejected(name: str, options: dict[str, Any], message: str) -> None:
    """Options that Keras accepts silently, though they can only be mistakes, are rejected by name."""
    getattr(keras.callbacks, name)(**options)
    with pytest.raises(SettingsError, match=message):
        getattr(trainbus.plugins, name)(**options)


def test_difference_an_unknown_mode_is_rejected() -> None:
    """Keras warns of an unknown mode and uses "auto"; trainbus rejects it."""
    with pytest.warns(UserWarning, match="mode 'MAX' is unknown, fallback to auto mode"):
        assert keras.callbacks.EarlyStopping(mode="MAX").mode == "auto"
    with pytest.raises(SettingsError, match="mode='MAX'"):
        EarlyStopping(mode="MAX")  # type: ignore[arg-type]


def test_difference_the_best_is_new_in_each_run() -> None:
    """Keras's ModelCheckpoint keeps the best of an earlier fit; a callback of trainbus keeps no state between runs."""
    checkpoint = keras.callbacks.ModelCheckpoint("best.keras", save_best_only=True)
    keras_run(checkpoint, [1.0])
    assert keras_run(checkpoint, [2.0])[0].saved == []

    callback = ModelCheckpoint("best.keras", save_best_only=True)
    trainbus_run(callback, [1.0])
    assert len(trainbus_run(callback, [2.0])[0].saved) == 1


def test_difference_a_direction_never_leaks() -> None:
    """Reused for a metric of the other direction, Keras's callback keeps the old one; trainbus infers it per run."""

    class Knows(Trained):
        def __init__(self, direction: str) -> None:
            super().__init__()
            metric = keras.metrics.Mean(name="loss_of_mine")
            metric._direction = direction
            compiled = keras.src.trainers.compile_utils.MetricsList([metric])
            self.metrics = [compiled]

        def direction_of(self, metric: str) -> Any:
            return {"up": "max", "down": "min"}[self.metrics[0].metrics[0]._direction]

    stopper, mine = keras.callbacks.EarlyStopping(monitor="loss_of_mine"), EarlyStopping(monitor="loss_of_mine")
    theirs: list[int] = []
    ours: list[int] = []
    for direction in ("down", "up"):
        rising = [1.0, 2.0, 3.0]
        model = Knows(direction)
        stopper.set_model(model)
        stopper.on_train_begin()
        for epoch, number in enumerate(rising):
            if not model.stop_training:
                stopper.on_epoch_end(epoch, {"loss_of_mine": number})
                last = epoch
        theirs.append(last)
        with Run(Knows(direction), mine, verbose=0) as run:
            for epoch in run.epochs(3):
                run.log(loss_of_mine=rising[epoch])
        ours.append(run.epoch)
    assert theirs == [1, 1], "Keras minimizes forever"
    assert ours == [1, 2]


def test_difference_a_stop_before_training_stops_a_loop_at_once() -> None:
    """Keras's fit trains one batch though on_train_begin asked for a stop; a loop over run.epochs trains none."""

    class Never:
        @trainbus.hookimpl
        def on_train_begin(self) -> Any:
            return trainbus.decision.stop("not today")

    class KerasNever(keras.callbacks.Callback):
        def on_train_begin(self, logs: Any = None) -> None:
            self.model.stop_training = True

    keras.config.set_floatx("float32")
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    model.fit(np.ones((4, 1)), np.ones((4, 1)), batch_size=1, epochs=3, verbose=0, callbacks=[KerasNever()])
    assert int(model.optimizer.iterations) == 1

    with Run(None, Never()) as run:
        assert list(run.epochs(3)) == []
