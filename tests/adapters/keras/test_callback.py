"""The Keras adapter, under real fits on Keras's backend of the environment (KERAS_BACKEND, torch unless set)."""

from __future__ import annotations

import copy
import pickle
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import trainbus
from trainbus import LoopError, MissingMetric, SettingsError, hookimpl
from trainbus.adapters.keras import KerasCallback
from trainbus.plugins import EarlyStopping, ModelCheckpoint, ReduceLROnPlateau
from trainbus.testing import EventRecorder

from .fits import BATCHES, EPOCHS, AtEpochEnd, KerasRaises, X, Y, described, epoch, fit, line

pytestmark = pytest.mark.filterwarnings("ignore:\\s*Your input ran out of data:UserWarning")


def recorder_of_threads() -> tuple[EventRecorder, set[str]]:
    """Return a recorder of all events, and the names of the threads in which it was called."""
    threads = set[str]()
    return EventRecorder(*BATCHES, answer=lambda _: threads.add(threading.current_thread().name)), threads


def batch_events(count: int) -> list[Any]:
    """Return what ``described`` shows of the first batches."""
    events = ([("on_batch_begin", batch), ("on_batch_end", batch, batch + 1, ["loss"])] for batch in range(count))
    return [event for pair in events for event in pair]


@pytest.mark.parametrize("freq", [2, [2, 4], [2, 9]])
def test_events_under_validation_freq_and_initial_epoch(freq: Any) -> None:
    """Epochs keep Keras's numbers, and a validation is reported in the epochs that have one."""
    recorder = EventRecorder(*EPOCHS)
    fit(line(), [KerasCallback(recorder)], initial_epoch=1, epochs=4, validation_data=(X, Y), validation_freq=freq)
    last = epoch(3, 15, val=freq != [2, 9])
    events = [*epoch(1, 5, val=True), *epoch(2, 10), *last]
    assert described(recorder) == [("on_train_begin",), *events, ("on_train_end",)]


def test_batches_are_reported_to_plugins_that_listen() -> None:
    """A plugin that listens is called for each batch, in order, in the main thread, with Keras's running means."""
    recorder, threads = recorder_of_threads()
    fit(line(), [KerasCallback(recorder)], batch_size=4, epochs=2)
    assert described(recorder)[2:8] == batch_events(3)
    assert recorder.of("on_batch_end", "step") == [1, 2, 3, 4, 5, 6]
    assert threads == {threading.current_thread().name}


@pytest.mark.parametrize("kind", ["bare", "list", "tuple", "dict", "CallbackList"])
def test_batches_are_reported_in_the_main_thread(kind: str) -> None:
    """However the callback is passed to a fit, Keras does not call it from other threads."""
    (recorder, threads), model = recorder_of_threads(), line()
    cb = KerasCallback([recorder])
    given: Any = {"bare": cb, "list": [cb], "tuple": (cb,), "dict": {"a": cb}}.get(kind)
    if kind == "CallbackList":
        given = keras.callbacks.CallbackList([cb], add_history=True, model=model, epochs=2, steps=10)
    fit(model, given, batch_size=1, epochs=2)
    assert recorder.of("on_batch_end", "step") == list(range(1, 21))
    assert threads == {threading.current_thread().name}


def test_without_batch_listeners_no_batch_hook_is_overridden() -> None:
    """Without a listener for batches the callback overrides no batch hook, also after a fit that had one and failed."""
    cb = KerasCallback([EventRecorder(*BATCHES)])
    with pytest.raises(ZeroDivisionError):
        fit(line(), [cb, KerasRaises()])
    cb.callbacks = [EventRecorder(*EPOCHS)]
    overridden: list[bool] = []

    def look(_: int) -> None:
        overridden.append("on_train_batch_end" in vars(cb) or "on_train_batch_begin" in vars(cb))

    fit(line(), [cb, AtEpochEnd(look)])
    assert overridden == [False]
    assert KerasCallback.on_train_batch_end is keras.callbacks.Callback.on_train_batch_end


def test_models_with_several_outputs() -> None:
    """The names of outputs are in the metrics, and can be monitored."""
    inputs = keras.Input((4,))
    model = keras.Model(inputs, [keras.layers.Dense(1, name=name)(inputs) for name in "ab"])
    model.compile("sgd", ["mse", "mse"], metrics=[["mae"], ["accuracy"]])
    cb = KerasCallback(
        [EarlyStopping(monitor="val_b_accuracy", patience=9), EarlyStopping(monitor="a_mae", patience=9)]
    )
    model.fit(X, [Y, Y], validation_data=(X, [Y, Y]), verbose=0, callbacks=[cb])
    assert {"a_loss", "b_loss", "a_mae", "b_accuracy", "val_a_mae", "val_b_accuracy"} <= cb.run.history.keys()
    assert (cb.run.monitor("val_b_accuracy").direction, cb.run.monitor("a_mae").direction) == ("max", "min")

    with pytest.raises(ValueError, match="isn't able to automatically determine"):
        model.fit(X, [Y, Y], verbose=0, callbacks=[keras.callbacks.EarlyStopping("b_accuracy")])


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_mixed_precision(policy: str, request: pytest.FixtureRequest) -> None:
    """Half precision, with or without a loss scale, changes nothing: rates are cut, the best is saved and restored."""
    before = keras.config.dtype_policy()
    request.addfinalizer(lambda: keras.config.set_dtype_policy(before))
    keras.config.set_dtype_policy(policy)
    model = line(keras.optimizers.SGD(1e-3))
    callbacks = [
        EarlyStopping(monitor="loss", mode="max", patience=3, restore_best_weights=True),
        ReduceLROnPlateau(monitor="loss", mode="max", patience=2, factor=0.5),
        ModelCheckpoint("best.keras", monitor="loss", mode="max", save_best_only=True),
    ]
    cb = KerasCallback(callbacks)
    history = fit(model, [cb], epochs=6, shuffle=False).history
    best = cb.run.result.best["loss"].epoch
    rates = [1e-3] * (best + 3) + [5e-4] * (len(history["loss"]) - best - 3)
    assert history["learning_rate"] == pytest.approx(rates)
    np.testing.assert_array_equal(model.get_weights()[0], keras.models.load_model("best.keras").get_weights()[0])


def test_evaluate_and_predict_outside_of_a_fit_are_ignored() -> None:
    """The callback may be passed to evaluate and predict too; it then calls no plugin."""
    recorder, model = EventRecorder(*EPOCHS), line()
    cb = KerasCallback(recorder)
    model.evaluate(X, Y, verbose=0, callbacks=[cb])
    model.predict(X, verbose=0, callbacks=[cb])
    assert recorder.events == []
    with pytest.raises(LoopError, match="no run yet"):
        _ = cb.run


def test_evaluate_and_predict_inside_a_fit_are_not_its_validation() -> None:
    """Only fit's own validation counts, even if another evaluation uses the same callback meanwhile."""
    recorder, model = EventRecorder(*BATCHES), line()
    cb = KerasCallback(recorder)

    def evaluate(_: int) -> None:
        model.evaluate(X, Y, verbose=0, callbacks=[cb])
        model.predict(X, verbose=0, callbacks=[cb])
        model.evaluate(X, Y, verbose=0)

    fit(model, [AtEpochEnd(evaluate), cb, AtEpochEnd(evaluate)], epochs=3, validation_data=(X, Y), validation_freq=3)
    events = [event for event in described(recorder) if "batch" not in event[0]]
    epochs = [*epoch(0, 5), *epoch(1, 10), *epoch(2, 15, val=True)]
    assert events == [("on_train_begin",), *epochs, ("on_train_end",)]


def test_loops_of_train_on_batch_are_not_affected() -> None:
    """A hand-written loop is left alone, also on a model that a fit has watched."""
    recorder, model = EventRecorder(*BATCHES), line()
    fit(model, [KerasCallback(recorder)])
    before = list(recorder.events)
    model.train_on_batch(X, Y)
    assert recorder.events == before


def test_run_works_around_a_hand_written_loop() -> None:
    """``Run`` around train_on_batch has the same callbacks as a fit."""
    model = line()
    with trainbus.watch(model, callbacks=[ModelCheckpoint("m", monitor="loss", save_best_only=True)]) as run:
        for _ in run.epochs(2):
            for x, y in run.batches([(X[:5], Y[:5]), (X[5:], Y[5:])]):
                run.log(model.train_on_batch(x, y, return_dict=True), count=len(x))
    assert run.result.checkpoints == (Path("m.keras"),)
    assert run.step == int(model.optimizer.iterations) == 4


def test_a_loop_that_drives_a_callback_list() -> None:
    """Keras's list of callbacks can be driven by hand, and the run goes with it."""
    recorder, model = EventRecorder(*BATCHES), line()
    events = keras.callbacks.CallbackList([KerasCallback(recorder)], model=model)
    events.on_train_begin()
    events.on_epoch_begin(0)
    for batch in range(2):
        events.on_train_batch_begin(batch)
        events.on_train_batch_end(batch, model.train_on_batch(X, Y, return_dict=True))
    events.on_epoch_end(0, {"loss": 1.0})
    events.on_train_end()
    begin, end = epoch(0, 2, last=1)
    assert described(recorder) == [("on_train_begin",), begin, *batch_events(2), end, ("on_train_end",)]


def test_an_inner_fit_needs_its_own_callback() -> None:
    """One callback cannot serve two fits at once; the error says so."""
    inner, outer = line(), line()
    cb = KerasCallback(EventRecorder(*EPOCHS))
    with pytest.raises(LoopError, match=r"an outer fit\(\) uses this KerasCallback already"):
        fit(outer, [cb, AtEpochEnd(lambda _: fit(inner, [cb]))])


class Stops:
    """A plugin that requests a stop at one event."""

    def __init__(self, event: str) -> None:
        self.event = event

    @hookimpl
    def on_train_begin(self) -> Any:
        return trainbus.decision.stop("enough") if self.event == "train" else None

    @hookimpl
    def on_batch_end(self, epoch: int, batch: int) -> Any:
        return trainbus.decision.stop("enough") if self.event == "batch" and (epoch, batch) == (1, 2) else None

    @hookimpl
    def on_epoch_end(self, epoch: int) -> Any:
        return trainbus.decision.stop("enough") if self.event == "epoch" and epoch == 1 else None


@pytest.mark.parametrize(("event", "steps"), [("train", 1), ("batch", 8), ("epoch", 10)])
def test_a_stop_ends_the_fit(event: str, steps: int) -> None:
    """Keras ends the training after the batch in which a stop was requested; the epoch's end is still reported."""
    cb = KerasCallback(Stops(event))
    history = fit(line(), [cb], epochs=9, validation_data=(X, Y)).history
    assert (cb.run.step, cb.run.result.reason) == (steps, "enough")
    assert len(history["val_loss"]) == len(cb.run.history["val_loss"]) == 1 + (event != "train")


def test_another_callback_may_stop_the_run() -> None:
    """Another callback of the fit can end the training through the run, with its reason."""
    cb = KerasCallback()
    fit(line(), [cb, AtEpochEnd(lambda _: cb.run.stop("another callback asks"))], epochs=9)
    assert (cb.run.result.epochs, cb.run.result.reason) == (1, "another callback asks")


def test_best_weights_are_restored_when_fit_ends() -> None:
    """After a fit the model has the weights of the best epoch, as with Keras's own callback."""
    mine, theirs = line(keras.optimizers.SGD(0.9)), line(keras.optimizers.SGD(0.9))
    options: Any = {"monitor": "loss", "patience": 2, "restore_best_weights": True}
    cb = KerasCallback(EarlyStopping(**options))
    first = fit(mine, [cb], epochs=9, shuffle=False).history["loss"]
    second = fit(theirs, [keras.callbacks.EarlyStopping(**options)], epochs=9, shuffle=False).history["loss"]
    assert first == pytest.approx(second)
    np.testing.assert_allclose(mine.get_weights()[0], theirs.get_weights()[0], rtol=1e-6)
    assert cb.run.result.best["loss"].value == pytest.approx(min(first))


def test_the_list_of_the_four() -> None:
    """The callbacks of the README work in a fit, whose checkpoints Keras loads."""
    callbacks = [
        EarlyStopping(monitor="val_loss", patience=3),
        ModelCheckpoint("best.keras", monitor="val_loss", save_best_only=True),
        ModelCheckpoint("best.weights.h5", monitor="val_loss", save_best_only=True, save_weights_only=True),
        ModelCheckpoint("all/{epoch}-{val_loss:.3f}"),
        ReduceLROnPlateau(monitor="val_loss", factor=0.1, patience=2, min_lr=1e-5),
    ]
    model = line()
    cb = KerasCallback(callbacks)
    fit(model, [cb], epochs=3, validation_data=(X, Y))

    best = cb.run.result.best["val_loss"]
    loaded, weights = keras.models.load_model("best.keras"), line()
    weights.load_weights("best.weights.h5")
    for each in (loaded, weights):
        assert each.evaluate(X, Y, verbose=0) == pytest.approx(best.value, rel=1e-5)
    values = cb.run.history["val_loss"]
    assert {path.name for path in Path("all").glob("*.keras")} == {
        f"{i + 1}-{v:.3f}.keras" for i, v in enumerate(values)
    }


def test_a_second_fit_starts_from_the_beginning() -> None:
    """Nothing leaks from one fit to the next: each has its own run with its own plugins."""
    cb = KerasCallback(EarlyStopping(monitor="loss", mode="max", patience=1))
    fit(line(), [cb], epochs=9)
    first = cb.run
    fit(line(), [cb], epochs=9)
    assert cb.run is not first
    assert (cb.run.result, cb.run.history) == (first.result, first.history)


@pytest.mark.parametrize(
    ("options", "epochs", "message"),
    [
        (
            {},
            1,
            "^'val_loss' is not logged; there was no validation in this epoch: give fit validation_data=, and valid",
        ),
        ({"validation_data": (X, Y), "validation_freq": 3}, 3, None),
        ({"validation_data": (X, Y), "validation_freq": [2]}, 3, None),
        ({"validation_split": 0.5}, 3, None),
    ],
)
def test_a_validation_metric_is_missing_without_a_validation(
    options: dict[str, Any], epochs: int, message: str | None
) -> None:
    """Without validation data a monitored val_loss fails at the end of the first epoch; else the run waits for it."""
    cb = KerasCallback(EarlyStopping(monitor="val_loss", patience=9))
    if message is None:
        fit(line(), [cb], epochs=epochs, **options)
    else:
        with pytest.raises(MissingMetric, match=message):
            fit(line(), [cb], epochs=9, **options)
    assert cb.run.epoch + 1 == epochs


@pytest.mark.parametrize(
    ("monitor", "options", "message"),
    [
        ("val_mae", {}, r"'val_mae' is not logged; there was no validation in this epoch: give fit validation_data="),
        ("val_los", {}, r"did you mean 'val_loss'\? there was no validation in this epoch: give fit validation_data="),
        ("fid", {}, "'fid' is not logged; compile the model with this metric, or put it into the logs"),
        ("val_fid", {"validation_data": (X, Y)}, "'val_fid' is not logged; compile the model with this metric"),
        ("los", {}, r"'los' is not logged; did you mean 'loss'\? logged: "),
    ],
)
def test_a_missing_metric_is_explained_in_the_terms_of_fit(monitor: str, options: Any, message: str) -> None:
    """The message names the arguments of ``fit``, and no function that such a user has never called."""
    with pytest.raises(MissingMetric, match=message) as raised:
        fit(line(), [KerasCallback(EarlyStopping(monitor=monitor, mode="min"))], epochs=2, **options)
    assert "run." not in str(raised.value)


@pytest.mark.parametrize(
    ("arguments", "options", "sentence"),
    [
        ((), {"resum": "auto"}, r"KerasCallback: unknown argument 'resum'; did you mean 'resume'\?"),
        ((), {"callback": []}, r"KerasCallback: unknown argument 'callback'; did you mean 'callbacks'\?"),
        ((), {"validation_dat": 1}, r"did you mean 'validation_data'\?"),
        (
            (EarlyStopping(), EarlyStopping(patience=1)),
            {},
            r"only callbacks by position, but 2 were given; give several c",
        ),
        (({"stop": EarlyStopping()},), {}, r"a mapping of names to callbacks; give list\(callbacks\.values\(\)\)"),
    ],
)
def test_a_wrong_argument_names_the_right_one(arguments: Any, options: Any, sentence: str) -> None:
    """When the callback is made, which may be long before the fit."""
    with pytest.raises(SettingsError, match=sentence):
        KerasCallback(*arguments, **options)


@pytest.mark.parametrize(
    ("verbose", "asked", "printed"), [(None, 0, 0), (None, 1, 1), (0, 1, 0), (1, 0, 1), (2, 0, 1), ("auto", 0, 1)]
)
def test_verbose_prints_decisions_only(
    verbose: Any, asked: int, printed: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """``fit`` draws its own progress; a level of the run counts more than those of its callbacks."""
    cb = KerasCallback(EarlyStopping(monitor="loss", mode="max", verbose=asked), verbose=verbose)
    fit(line(), [cb], epochs=3)
    out = capsys.readouterr().out
    assert out.count(": early stopping: ") == printed
    assert not [text for text in out.splitlines() if text.startswith("Epoch 1/3 - ")]
    assert not cb.run.has_batch_listeners


def test_a_misspelt_metric_fails_when_it_is_due() -> None:
    """With a validation every second epoch, a wrong val_ name fails at the end of the second."""
    cb = KerasCallback(EarlyStopping(monitor="val_los"))
    with pytest.raises(MissingMetric, match=r"'val_los' is not logged; did you mean 'val_loss'\? logged: .*val_loss$"):
        fit(line(), [cb], epochs=9, validation_data=(X, Y), validation_freq=2)
    assert cb.run.epoch == 1


def test_a_metric_that_another_callback_adds() -> None:
    """A metric that an earlier Keras callback adds to the logs can be monitored."""

    class Adds(keras.callbacks.Callback):
        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            logs["val_mine"] = -epoch

    cb = KerasCallback(EarlyStopping(monitor="val_mine", mode="max", patience=2))
    fit(line(), [Adds(), cb], epochs=9)
    assert cb.run.history["val_mine"] == [0, -1, -2]


@pytest.mark.parametrize("way", [copy.deepcopy, lambda each: pickle.loads(pickle.dumps(each))], ids=["copy", "pickle"])
@pytest.mark.parametrize("when", ["before", "after", "twice", "broken", "with batches", "inside"])
def test_a_copy_keeps_the_settings_and_the_data_of_the_last_run(way: Callable[[Any], Any], when: str) -> None:
    """It can be fitted again, whenever it was made."""
    listeners = [EventRecorder("on_batch_end")] if when == "with batches" else []
    bus, found = KerasCallback([EarlyStopping(monitor="loss", patience=9)]), []
    beside: list[Any] = [KerasCallback(listeners)]
    if when == "broken":
        beside.append(KerasRaises())
    if when == "inside":
        beside.append(AtEpochEnd(lambda _: found.append(way(bus))))
    if when != "before":
        with suppress(ZeroDivisionError):
            fit(line(), [bus, *beside], epochs=2)
    copied = found[-1] if found else way(way(bus) if when == "twice" else bus)

    if when == "before":
        with pytest.raises(LoopError, match="no run yet"):
            _ = copied.run
    elif when != "inside":
        assert copied.run.history == bus.run.history
    fit(line(), [copied], epochs=3)
    assert copied.run.result.epochs == 3


# --- resume= and several fits


def saving(**options: Any) -> tuple[KerasCallback, EventRecorder]:
    """Return a callback that saves each epoch, and a recorder of its epochs."""
    recorder = EventRecorder("on_epoch_begin")
    return KerasCallback([ModelCheckpoint("run/newest.keras"), recorder], **options), recorder


def raises_in(epoch: int, error: type[BaseException] = ZeroDivisionError) -> Any:
    def act(now: int) -> None:
        if now == epoch:
            raise error

    return AtEpochEnd(act)


def epochs_of(recorder: EventRecorder) -> list[int]:
    return recorder.of("on_epoch_begin", "epoch")


NEW_RUN = "this fit() begins with epoch 1 and the present weights"


@pytest.mark.parametrize("resume", ["auto", "run", "run/newest.keras"])
@pytest.mark.parametrize("end", ["all epochs", "stopped by Keras", "stopped by trainbus"])
@pytest.mark.covering(1)
def test_a_fit_after_one_that_was_over_is_a_new_run_which_one_line_says(
    resume: str, end: str, caplog: pytest.LogCaptureFixture
) -> None:
    """As after BackupAndRestore, whose backup is deleted at the end of fit."""
    fit(line(), [saving()[0]], epochs=1)
    bus, recorder = saving(resume=resume)
    model = line()
    others: list[Any] = []
    if end == "stopped by Keras":
        others = [keras.callbacks.EarlyStopping("loss", mode="max", patience=1)]
    elif end == "stopped by trainbus":
        others = [AtEpochEnd(lambda epoch: bus.run.stop("enough") if epoch == 2 else None)]
    fit(model, [bus, *others], epochs=4)
    first = epochs_of(recorder)
    assert NEW_RUN not in caplog.text
    fit(model, [bus], epochs=2)

    assert epochs_of(recorder)[len(first) :] == [0, 1]
    assert caplog.text.count(NEW_RUN) == 1
    assert f"resume={resume!r} was used in the first fit()" in caplog.text


@pytest.mark.parametrize("error", [ZeroDivisionError, KeyboardInterrupt, MemoryError])
@pytest.mark.parametrize("times", [1, 2])
@pytest.mark.covering(1)
def test_a_fit_that_was_broken_off_is_continued_by_the_next(
    error: type[BaseException], times: int, caplog: pytest.LogCaptureFixture
) -> None:
    """As with BackupAndRestore: it begins with the epoch after the last one that was saved, and ends with the same."""
    bus, recorder = saving(resume="auto")
    model = line()
    for number in range(times):
        with pytest.raises(error):
            fit(model, [bus, raises_in(2 * number + 1, error)], epochs=6)
    broken = len(epochs_of(recorder))
    fit(model, [bus], epochs=6)
    unbroken = line()
    fit(unbroken, [], epochs=6)

    assert epochs_of(recorder)[broken:] == list(range(2 * times, 6))
    assert len(bus.run.history["loss"]) == 6
    for one, other in zip(model.get_weights(), unbroken.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    assert NEW_RUN not in caplog.text


@pytest.mark.parametrize("resume", ["run", "run/newest.keras"])
def test_a_file_or_a_directory_is_used_once(resume: str, caplog: pytest.LogCaptureFixture) -> None:
    """It may be that of another run; the weights that were trained since are not replaced by it."""
    fit(line(), [saving()[0]], epochs=1)
    bus, recorder = saving(resume=resume)
    model = line()
    with pytest.raises(ZeroDivisionError):
        fit(model, [bus, raises_in(2)], epochs=4)
    fit(model, [bus], epochs=1)

    assert epochs_of(recorder) == [1, 2, 0]
    assert caplog.text.count(NEW_RUN) == 1


def test_another_model_does_not_continue_a_fit_that_was_broken_off(caplog: pytest.LogCaptureFixture) -> None:
    """Such as that of the next fold, or one in a copy of the callback."""
    bus, recorder = saving(resume="auto")
    with pytest.raises(ZeroDivisionError):
        fit(line(), [bus, raises_in(1)], epochs=4)
    fit(line(), [bus], epochs=1)
    assert epochs_of(recorder) == [0, 1, 0]
    assert caplog.text.count(NEW_RUN) == 1
    fit(line(), [copy.deepcopy(bus)], epochs=1)
    assert caplog.text.count(NEW_RUN) == 2


def test_a_resume_that_was_refused_is_tried_again_by_the_next_fit() -> None:
    """The first fit has not begun."""
    fit(line(), [saving()[0]], epochs=2)
    bus, recorder = saving(resume="auto")
    with pytest.raises(trainbus.CheckpointError):
        fit(line(keras.optimizers.Adam(0.1)), [bus], epochs=4)
    fit(line(), [bus], epochs=4)

    assert epochs_of(recorder) == [2, 3]


def test_without_resume_each_fit_is_a_new_run_and_nothing_is_said(caplog: pytest.LogCaptureFixture) -> None:
    """As before."""
    bus, recorder = saving()
    model = line()
    fit(model, [bus], epochs=2)
    fit(model, [bus], epochs=2)

    assert epochs_of(recorder) == [0, 1, 0, 1]
    assert NEW_RUN not in caplog.text


def test_the_id_of_a_run_is_in_the_path_of_every_fit() -> None:
    """A later fit saves to the same directory."""
    bus = KerasCallback(ModelCheckpoint("runs/{run}/m-{epoch}.weights.h5", save_weights_only=True), run_id="trial-3")
    model = line()
    for _ in range(2):
        fit(model, bus)
        assert bus.run.run_id == "trial-3"
        assert {path.parent for path in bus.run.result.checkpoints} == {Path("runs/trial-3")}
