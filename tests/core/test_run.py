"""Events come in order, counters are right, decisions are executed, and a run ends properly whatever happens."""

import gc
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from trainbus import Decision, LoopError, MissingMetric, Run, SettingsError, decision, hookimpl
from trainbus.metrics.best_value import BestValue
from trainbus.plugins import EarlyStopping, ModelCheckpoint, ReduceLROnPlateau
from trainbus.testing import EventRecorder, LineSubject, RecordedEvent


def test_events_of_a_complete_run_in_order() -> None:
    """Train, epoch, batch, validation: each begins before its parts and ends after them."""
    recorder = EventRecorder()
    with Run(callbacks=[recorder]) as run:
        for _ in run.epochs(2):
            for x in run.batches([1.0, 3.0]):
                run.log(loss=x)
            with run.validation():
                run.log(loss=5.0)

    epoch = lambda e: [  # noqa: E731
        ("on_epoch_begin", e, 2 * e, None),
        ("on_batch_begin", e, 2 * e, None),
        ("on_batch_end", e, 2 * e + 1, {"loss": 1.0}),
        ("on_batch_begin", e, 2 * e + 1, None),
        ("on_batch_end", e, 2 * e + 2, {"loss": 2.0}),
        ("on_validation_begin", e, 2 * e + 2, None),
        ("on_validation_end", e, 2 * e + 2, {"val_loss": 5.0}),
        ("on_epoch_end", e, 2 * e + 2, {"loss": 2.0, "val_loss": 5.0}),
    ]
    assert [(hook, values["epoch"], values["step"], values.get("metrics")) for hook, values in recorder.events] == [
        ("on_train_begin", 0, 0, None),
        *epoch(0),
        *epoch(1),
        ("on_train_end", 1, 4, None),
    ]
    for hook in ("on_batch_begin", "on_batch_end"):
        assert recorder.of(hook, "batch") == [0, 1, 0, 1]


@pytest.mark.parametrize(
    ("event", "epochs", "batches"),
    [
        ("on_train_begin", 0, 0),
        ("on_epoch_begin", 0, 0),
        ("on_batch_begin", 1, 1),
        ("on_batch_end", 1, 1),
        ("on_validation_begin", 1, 3),
        ("on_validation_end", 1, 3),
        ("on_epoch_end", 1, 3),
        ("on_train_end", 5, 15),
    ],
)
def test_a_stop_is_obeyed_at_the_next_boundary(event: str, epochs: int, batches: int) -> None:
    """A stop ends the batches at once, then the epoch, then the training; the end of what has begun is still stated."""
    first = iter([decision.stop("enough")])
    recorder = EventRecorder(answer=lambda happened: next(first, None) if happened.hook == event else None)
    with Run(callbacks=[recorder]) as run:
        for _ in run.epochs(5):
            for x in run.batches([1, 2, 3]):
                run.log(loss=x)
            with run.validation():
                run.log(loss=1)

    assert (run.result.epochs, run.step) == (epochs, batches)
    assert run.result.stopped
    assert run.result.reason == "enough"
    assert recorder.names.count("on_epoch_end") == epochs
    assert recorder.names[-1 if event != "on_train_end" else -2] == "on_train_end"


@given(st.lists(st.lists(st.tuples(st.floats(-100, 100), st.integers(1, 9)), min_size=1, max_size=6), max_size=5))
def test_history_has_one_weighted_mean_an_epoch(epochs: list[list[tuple[float, int]]]) -> None:
    """History holds, for each epoch, the mean of what was logged, weighted by count."""
    with Run() as run:
        for epoch in run.epochs(len(epochs)):
            for value, count in run.batches(epochs[epoch]):
                run.log(loss=value, count=count)

    means = [sum(v * c for v, c in epoch) / sum(c for _, c in epoch) for epoch in epochs]
    assert run.history == ({"loss": pytest.approx(means)} if means else {})
    assert run.step == sum(map(len, epochs))


def test_history_has_none_where_an_epoch_did_not_log() -> None:
    """Every metric has one value an epoch, None where it was not logged."""
    with Run() as run:
        for epoch in run.epochs(3, validation_freq=2):
            run.log(loss=epoch)
            if epoch == 1:
                run.log(val_loss=7)

    assert run.history == {"loss": [0.0, 1.0, 2.0], "val_loss": [None, 7.0, None]}


def test_an_epoch_has_the_learning_rate_that_it_trained_with() -> None:
    """A schedule that the loop steps after the epoch's batches does not show in that epoch but in the next."""
    subject = LineSubject(learning_rate=0.4)
    with Run(subject) as run:
        for _ in run.epochs(3):
            for _ in run.batches(range(2)):
                run.log(loss=1.0)
            subject.learning_rate /= 2

    assert run.history["learning_rate"] == [0.4, 0.2, 0.1]


@pytest.mark.parametrize("error", [TypeError, NotImplementedError])
def test_a_loader_whose_length_raises_has_none(error: type[Exception]) -> None:
    """A loader over a stream has a length that raises; its batches are used, and their number is unknown."""

    class Stream:
        def __len__(self) -> int:
            raise error

        def __iter__(self) -> Iterator[int]:
            return iter(range(3))

    with Run() as run:
        for _ in run.epochs(1):
            assert list(run.batches(Stream())) == [0, 1, 2]

    assert (run.state.planned_batches, run.step) == (None, 3)


@pytest.mark.parametrize("accumulate", [1, 2, 3, None])
def test_steps_are_weight_updates(accumulate: int | None) -> None:
    """A step is counted every ``accumulate`` batches, or by the loop itself."""
    with Run() as run:
        for _ in run.epochs(2):
            for _ in run.batches(range(6), accumulate=accumulate):
                if accumulate is None:
                    run.step += 5

    assert run.step == (60 if accumulate is None else 12 // accumulate)


@pytest.mark.parametrize("large", [2**31 + 1, 2**53 + 1, 2**62 + 1])
def test_steps_beyond_what_a_float_can_count_are_exact(large: int) -> None:
    """In the names of files, their manifests, and a run that continues from them."""
    for more in (large, 1):
        with Run(LineSubject(), ModelCheckpoint("m-{step}"), verbose=0, resume="auto") as run:
            for _ in run.epochs(1 if more == large else 2):
                run.step += more

    assert [checkpoint.step for checkpoint in run.state.checkpoints[-1:]] == [large + 1]
    assert [path.stem for path in run.state.files] == [f"m-{large}", f"m-{large + 1}"]


def test_a_step_that_decreases_is_refused() -> None:
    """Checkpoints are identified by it."""
    with Run(verbose=0) as run:
        run.step = 7
        with pytest.raises(LoopError, match="step=5 after step 7"):
            run.step = 5
        assert run.step == 7


def test_counters_are_right_inside_the_loop() -> None:
    """Epoch, batch and step can be read in the body of the loop, whether a plugin listens or not."""
    for callbacks in ([], [EventRecorder()]):
        seen = []
        with Run(callbacks=callbacks) as run:
            for _ in run.epochs(2):
                seen += [(run.epoch, run.batch, run.step) for _ in run.batches("ab")]

        assert seen == [(0, 0, 0), (0, 1, 1), (1, 0, 2), (1, 1, 3)]


def test_a_loop_may_stop_itself_and_break() -> None:
    """run.stop ends the loop with its reason; a break ends it without any stop."""
    with Run() as run:
        for _ in run.epochs(9):
            for batch in run.batches(range(9)):
                if batch == 2:
                    run.stop("by hand")
    assert (run.result.epochs, run.step, run.result.reason) == (1, 3, "by hand")

    with Run() as run:
        for epoch in run.epochs(9):
            if epoch == 2:
                break
    assert (run.result.epochs, run.result.stopped, run.result.reason) == (2, False, "the loop was left in epoch 3")


@pytest.mark.parametrize("error", [ValueError("bad batch"), KeyboardInterrupt()])
def test_an_error_ends_the_run_properly(error: BaseException) -> None:
    """Every plugin is called for the error and for the end, once each, and the user gets the same error."""
    recorders = [EventRecorder(), EventRecorder()]
    with pytest.raises(type(error)) as raised, Run(callbacks=recorders) as run:
        for _ in run.epochs(2):
            raise error

    assert raised.value is error
    assert run.error is error
    for recorder in recorders:
        assert recorder.names[-2:] == ["on_exception", "on_train_end"]
        assert recorder.of("on_exception", "error") == [error]
    assert run.result.reason == ("interrupted" if isinstance(error, KeyboardInterrupt) else "ValueError: bad batch")


def raising(event: RecordedEvent) -> None:
    raise ZeroDivisionError(event.hook)


@pytest.mark.parametrize("hook", ["on_train_begin", "on_batch_end", "on_epoch_end", "on_train_end"])
@pytest.mark.parametrize("place", [0, 1])
def test_a_raising_plugin_is_named_and_the_others_are_called_at_the_end(hook: str, place: int) -> None:
    """The error names plugin and hook, and the other plugins are called at the end exactly once, before or after it."""
    recorder = EventRecorder()
    callbacks: list[object] = [recorder]
    callbacks.insert(place, EventRecorder(hook, answer=raising))

    def train() -> None:
        with Run(callbacks=callbacks) as run:
            for _ in run.epochs(2):
                for _ in run.batches([1]):
                    run.log(loss=1)

    with pytest.raises(ZeroDivisionError) as raised:
        train()

    name = ("EventRecorder", "EventRecorder-2")[place]
    assert raised.value.__notes__ == [f"raised in {hook} by the plugin {name!r}"]
    assert recorder.names.count("on_train_end") == 1


@pytest.mark.parametrize("error", [None, ValueError("no"), KeyboardInterrupt()])
def test_what_was_registered_for_the_end_is_called_after_the_last_decision(error: BaseException | None) -> None:
    """Whatever ends a run, what was registered with at_end is called last, in reverse order, each once."""
    calls: list[str] = []

    class Late:
        @hookimpl
        def on_train_begin(self, run: Run) -> None:
            run.at_end(lambda: calls.append("first"))
            run.at_end(lambda: calls.append("second"))

        @hookimpl
        def on_train_end(self) -> Decision:
            calls.append("end")
            return decision.stop("late")

        @hookimpl
        def on_decision(self) -> None:
            calls.append("decision")

    def train() -> None:
        with Run(callbacks=Late()):
            if error is not None:
                raise error

    if error is None:
        train()
    else:
        with pytest.raises(type(error)):
            train()
    assert calls == ["end", "decision", "second", "first"]
    with pytest.raises(LoopError, match=re.escape("at_end() needs a run that has begun and is not over")):
        Run().at_end(print)


def test_a_run_is_used_once() -> None:
    """A second use, or a use outside ``with``, is refused."""
    run = Run()
    with pytest.raises(LoopError, match="belongs inside"):
        next(iter(run.epochs(1)))
    with run:
        pass
    with pytest.raises(LoopError, match="make a new one"), run:
        pass
    with pytest.raises(LoopError):
        run.stop("late")


def test_the_same_callbacks_start_without_state() -> None:
    """A second run with the same list decides as the first did."""
    callbacks = [EarlyStopping(monitor="loss", patience=2), ReduceLROnPlateau(monitor="loss", patience=1)]
    results = []
    for _ in range(2):
        subject = LineSubject()
        with Run(subject, callbacks) as run:
            for epoch in run.epochs(9):
                run.log(loss=[3, 2, 2, 2, 1, 1, 1, 1, 1][epoch])
        results.append((run.result.epochs, run.result.best, run.history["learning_rate"], subject.learning_rate))

    assert results[0] == results[1]
    assert results[0][0] == 4


def test_what_a_loop_decides_is_executed() -> None:
    """run.decide saves, keeps and restores at once."""
    subject = LineSubject()
    with Run(subject) as run:
        subject.slope += 1
        run.decide(decision.save("one.npz") | decision.keep("one"))
        subject.slope += 1
        run.decide(decision.restore("one"))
        assert subject.slope == 1
        subject.slope += 4
        run.decide(decision.restore("one.npz"))
        assert subject.slope == 1

    assert [str(path) for path in run.result.checkpoints] == ["one.npz"]


def test_the_result_lists_the_files_that_exist() -> None:
    """Forgotten ones are left out, and one that is written again goes to the end."""
    with Run(LineSubject()) as run:
        for name in ("a", "b", "c", "a"):
            run.decide(decision.save(f"{name}.npz"))
        run.decide(decision.forget("b.npz") | decision.save("d.npz") | decision.forget("d.npz"))

    assert [path.name for path in run.result.checkpoints] == ["c.npz", "a.npz", "d.npz"]
    assert all(path.is_file() for path in run.result.checkpoints)
    assert len(run.state.checkpoints) == 5


def test_missing_metrics_are_named_together_at_the_first_epoch_end() -> None:
    """Names that nothing logs fail at the first epoch end, all at once, each with the nearest right name."""
    callbacks = [EarlyStopping(monitor="var_loss", mode="min"), EarlyStopping(monitor="accurracy", mode="max")]
    with pytest.raises(MissingMetric) as raised, Run(callbacks=callbacks) as run:
        for _ in run.epochs(5):
            run.log(loss=1, accuracy=0.5, val_loss=2)

    assert run.epoch == 0
    assert "'var_loss' is not logged; did you mean 'val_loss'? logged: loss, accuracy, val_loss" in str(raised.value)
    assert "did you mean 'accuracy'?" in str(raised.value)


def test_validation_metrics_are_missed_only_where_validation_is_due() -> None:
    """With validation_freq=3 the first two epochs may lack val_loss, the third may not."""
    run = Run(callbacks=EarlyStopping(patience=2))
    with pytest.raises(MissingMetric, match="val_loss"), run:
        for _ in run.epochs(9, validation_freq=3):
            run.log(loss=1)

    assert run.epoch == 2


def test_aliases_are_understood() -> None:
    """val_acc watches what is logged as val_accuracy."""
    with Run(callbacks=EarlyStopping(monitor="val_acc", patience=1)) as run:
        for _ in run.epochs(5):
            run.log(val_accuracy=0.5)

    assert run.result.epochs == 2
    assert run.result.best["val_accuracy"] == BestValue(0.5, 0)


@pytest.mark.parametrize("ended", [False, True])
def test_an_epoch_outside_of_the_run_is_refused(ended: bool) -> None:
    """Before begin() no plugin has a state; after end() no decision would be saved or announced."""
    run = Run(LineSubject(), EarlyStopping())
    if ended:
        with run:
            pass

    with pytest.raises(LoopError, match=r"an epoch begins only after begin\(\) and before end\(\)"):
        run.begin_epoch(0)


@pytest.mark.parametrize(
    ("arguments", "options", "sentence"),
    [
        ((), {"callback": []}, r"Run: unknown argument 'callback'; did you mean 'callbacks'\?"),
        ((), {"reume": "auto"}, r"did you mean 'resume'\?"),
        ((), {"model": None}, r"Run: unknown argument 'model'. arguments: subject, callbacks"),
        ((None, [], 1), {}, r"Run takes only subject, callbacks by position, but 3 were given; a model goes with its"),
        ((None,), {"subject": None}, "Run: the argument 'subject' is given twice; give it once"),
        ((), {"signals": 15}, r"signals=15: give the names of signals, such as \('SIGTERM',\), or \(\) for none"),
        ((), {"signals": None}, r"signals=None: give the names of signals"),
        ((), {"signals": [15]}, r"signals=15: give names, such as 'SIGTERM'"),
    ],
)
def test_a_wrong_argument_of_a_run_names_the_right_one(arguments: Any, options: Any, sentence: str) -> None:
    """In one line, before anything has begun."""
    with pytest.raises(SettingsError, match=sentence):
        Run(*arguments, **options).begin()


@pytest.mark.parametrize(
    ("epochs", "options", "sentence"),
    [
        ("10", {}, "epochs='10': give a whole number of at least 0, not text"),
        (-1, {}, "epochs=-1: give a whole number of at least 0"),
        (2.5, {}, "epochs=2.5: give a whole number"),
        (range(3), {}, r"epochs=range\(0, 3\): give a whole number"),
        (3, {"initial_epoch": -1}, "initial_epoch=-1: give a whole number of at least 0"),
        (3, {"initial_epoch": "1"}, "initial_epoch='1': give a whole number of at least 0, not text"),
        (
            3,
            {"validation_freq": 0},
            "validation_freq=0: give a number of at least 1 to validate every n-th epoch, or a list",
        ),
        (3, {"validation_freq": [0]}, "validation_freq=0: give a number of at least 1 to validate every n-th epoch"),
        (3, {"validation_freq": "2"}, "validation_freq='2': give a number of at least 1 to validate every n-th epoch"),
        (3, {"initial": 1}, r"epochs: unknown argument 'initial'; did you mean 'initial_epoch'\?"),
    ],
)
def test_epochs_that_cannot_be_counted_are_refused(epochs: Any, options: Any, sentence: str) -> None:
    """Before the first of them is trained."""
    with pytest.raises(SettingsError, match=sentence), Run(callbacks=EarlyStopping(monitor="loss")) as run:
        for _ in run.epochs(epochs, **options):
            run.log(loss=1.0)
    assert run.state.epochs_started == 0


@pytest.mark.parametrize(
    ("batches", "accumulate", "sentence"),
    [
        (3, 1, r"batches\(3\): give an iterable of batches, such as a DataLoader, or range\(n\)"),
        (None, 1, r"batches\(None\): give an iterable"),
        (print, 1, r"batches\(.*\): give an iterable"),
        ([1], 0, "accumulate=0: give the number of batches per weight update, or None"),
        ([1], "2", "accumulate='2': give the number"),
        ([1], 1.5, "accumulate=1.5: give the number"),
    ],
)
def test_batches_that_cannot_be_iterated_are_refused(batches: Any, accumulate: Any, sentence: str) -> None:
    """With what to give instead."""
    with pytest.raises(SettingsError, match=sentence), Run() as run:
        for _ in run.epochs(1):
            list(run.batches(batches, accumulate=accumulate))


def test_a_sequence_without_iter_has_batches() -> None:
    """Python iterates by index what has only __getitem__."""

    class Old:
        def __getitem__(self, index: int) -> int:
            if index == 3:
                raise IndexError
            return index

    with Run() as run:
        for _ in run.epochs(1):
            old: Any = Old()
            assert list(run.batches(old)) == [0, 1, 2]


@pytest.mark.parametrize("listens", [False, True])
def test_validations_do_not_nest(listens: bool) -> None:
    """The inner one would end the prefix of the outer; after the error the next one works."""
    with Run(callbacks=[EventRecorder()] if listens else []) as run:
        for _ in run.epochs(1):
            with (
                pytest.raises(LoopError, match=r"validation\(\) was called inside another"),
                run.validation(),
                run.validation(),
            ):
                pass
            with run.validation():
                run.log(loss=1.0)
            with pytest.raises(SettingsError, match=r"validation takes no argument by position.*run\.log\(test_loss="):
                run.validation("test")  # type: ignore[call-arg]
    assert run.history == {"val_loss": [1.0]}


@pytest.mark.parametrize("key", [3, None, ("a",), b"x", 1.5])
@pytest.mark.parametrize("validates", [False, True])
def test_a_metric_has_text_as_its_name(key: Any, validates: bool) -> None:
    """Wherever it is logged; the other metrics of the epoch are still there."""
    with Run() as run:
        run.begin_epoch(0)
        run.log(loss=1.0)
        with (
            pytest.raises(SettingsError, match="has a name that is not text"),
            run.validation() if validates else nullcontext(),
        ):
            run.log({key: 1.0})
        with pytest.raises(SettingsError, match="has a name that is not text"):
            run.end_epoch({key: 1.0})
        run.end_epoch()
    assert run.history == {"loss": [1.0]}


@pytest.mark.parametrize("metrics", ["loss", [1.0], 0.5, ("loss", 1.0), np.ones(2)])
def test_what_is_logged_is_a_mapping(metrics: Any) -> None:
    """Or named; an error names both forms."""
    with Run() as run:
        run.begin_epoch(0)
        with pytest.raises(SettingsError, match=r"not a mapping; write name=value, or \{name: value\}"):
            run.log(metrics)


@pytest.mark.parametrize("wanted", ["stop", None, 3, {"stop": "why"}, decision.stop])
def test_a_loop_decides_with_decisions(wanted: Any) -> None:
    """Anything else is refused, with an example."""
    with Run() as run, pytest.raises(SettingsError, match=r"give a decision of trainbus\.decision, such as stop\("):
        run.decide(wanted)


@pytest.mark.parametrize("step", ["3", None, 2.5, [1], True])
def test_a_step_is_a_whole_number(step: Any) -> None:
    """It counts weight updates."""
    with Run() as run, pytest.raises(SettingsError, match=r"step=.*: give a whole number of at least 0"):
        run.step = step


OUTSIDE = [
    lambda run: run.log(loss=1.0),
    lambda run: run.log({"val/loss": 1.0}),
    lambda run: run.log(),
    lambda run: run.batches([1, 2]),
    lambda run: run.validation().__enter__(),
    lambda run: run.log(tokens=3, reduce="sum"),
]


@pytest.mark.parametrize("use", OUTSIDE)
def test_what_no_callback_would_see_is_refused(use: Callable[[Run], object]) -> None:
    """Before the run, before its first epoch, between two epochs, and after it."""
    inside = re.escape("inside an epoch, where callbacks see it: loop over run.epochs(n) or run.steps(")
    run = Run(callbacks=EarlyStopping(monitor="loss"))
    with pytest.raises(LoopError, match="inside `with run:`"):
        use(run)
    with run:
        with pytest.raises(LoopError, match=inside):
            use(run)
        for _ in run.epochs(1):
            run.log(loss=1.0)
        with pytest.raises(LoopError, match=inside):
            use(run)
    with pytest.raises(LoopError, match="inside `with run:`"):
        use(run)
    assert run.history == {"loss": [1.0]}


def test_a_loop_that_never_enters_epochs_is_refused_at_its_first_metric() -> None:
    """Otherwise it would run to its end with every callback off."""
    subject = LineSubject()

    def train() -> None:
        with Run(subject, [ModelCheckpoint("m"), EarlyStopping(monitor="loss")]) as run:
            for _ in range(3):
                run.log(loss=1.0)

    with pytest.raises(LoopError, match=r"loop over run\.epochs\(n\)"):
        train()


@pytest.mark.parametrize("hook", ["on_train_begin", "on_epoch_end", "on_train_end"])
def test_a_plugin_logs_while_an_epoch_is_open(hook: str) -> None:
    """A metric that is logged in another hook is refused, by the name of the hook, and never dropped."""

    def late(event: RecordedEvent) -> None:
        if event.hook == hook:
            run.log(extra=1.0)

    run = Run(callbacks=[EventRecorder(answer=late)])
    with pytest.raises(LoopError, match=r"(inside an epoch, where callbacks see it|this run is over)") as raised, run:
        for _ in run.epochs(2):
            run.log(loss=1.0)
    assert raised.value.__notes__ == [f"raised in {hook} by the plugin 'EventRecorder'"]


@pytest.mark.parametrize("hook", ["on_epoch_begin", "on_batch_begin", "on_batch_end", "on_validation_begin"])
def test_what_a_plugin_logs_in_an_open_epoch_is_counted(hook: str) -> None:
    """In every hook from the beginning of an epoch to the end of its validation."""

    def log(event: RecordedEvent) -> None:
        if event.hook == hook:
            run.log(extra=1.0)

    with Run(callbacks=[EventRecorder(answer=log)]) as run:
        for _ in run.epochs(2):
            for _ in run.batches([1, 2]):
                run.log(loss=1.0)
            with run.validation():
                run.log(loss=2.0)
    assert 1.0 in [*run.history.get("extra", []), *run.history.get("val_extra", [])]


def test_a_run_without_any_epoch_says_that_its_callbacks_were_off(caplog: pytest.LogCaptureFixture) -> None:
    """If it had callbacks, its loop ended without an error, and it did not plan to have none."""
    line = "no epoch has begun, so no callback was used: loop over run.epochs(n) or run.steps("
    with Run(LineSubject(), ModelCheckpoint("m")) as run:
        for _ in range(3):
            pass
    assert caplog.text.count(line) == 1
    with Run(LineSubject(), ModelCheckpoint("m"), verbose=0) as run:
        run.decide(decision.save("other.npz"))
    assert caplog.text.count(line) == 2
    run = Run(callbacks=EarlyStopping(monitor="loss"))
    run.begin()
    run.end()
    assert caplog.text.count(line) == 3

    with Run(LineSubject(), ModelCheckpoint("m")) as run:
        list(run.epochs(0))
    with Run():
        pass
    with pytest.raises(ZeroDivisionError), Run(callbacks=EarlyStopping(monitor="loss")):
        raise ZeroDivisionError
    with Run(callbacks=EarlyStopping(monitor="loss")) as run:
        for _ in run.epochs(1):
            run.log(loss=1)
    assert caplog.text.count(line) == 3


@pytest.mark.parametrize("epochs", [0, 1, 3])
def test_a_run_that_is_dropped_without_its_end_says_so(epochs: int, caplog: pytest.LogCaptureFixture) -> None:
    """Its callbacks were never called at the end: nothing is restored, and no file is closed."""
    gc.collect()  # runs of earlier tests
    caplog.clear()
    run = Run(callbacks=EarlyStopping(monitor="loss", patience=9))
    run.begin()
    for epoch in range(epochs):
        run.begin_epoch(epoch)
        run.end_epoch({"loss": 1.0})
    assert caplog.text == ""
    del run
    gc.collect()
    done = "1 epoch" if epochs == 1 else f"{epochs} epochs"
    assert caplog.text.count(f"a run was dropped after {done} without its end: its callbacks are not called") == 1
    assert "use `with run:`, or call run.end() in a finally block" in caplog.text


def test_a_run_that_has_ended_or_not_begun_is_dropped_silently(caplog: pytest.LogCaptureFixture) -> None:
    """Also one that an error ended."""
    run = Run(callbacks=EarlyStopping(monitor="loss"))
    del run
    run = Run()
    run.begin()
    run.end()
    del run
    with pytest.raises(ZeroDivisionError), Run() as run:
        raise ZeroDivisionError
    del run
    gc.collect()
    assert caplog.text == ""


def test_epochs_without_a_number_go_on_until_a_decision() -> None:
    """Also from a later first epoch, and after a break."""
    with Run(callbacks=EarlyStopping(monitor="loss", patience=2)) as run:
        for epoch in run.epochs():
            run.log(loss=max(5 - epoch, 1))
    assert (run.result.epochs, run.state.plan.total) == (7, None)
    with Run() as run:
        for epoch in run.epochs(initial_epoch=7, validation_freq=2):
            run.log(loss=1)
            if epoch == 9:
                run.stop("enough")
    assert (run.result.epochs, run.epoch, run.result.reason) == (3, 9, "enough")


def leave_by_break(run: Run, scores: Sequence[float], last: int) -> None:
    for epoch in run.epochs(len(scores)):
        run.log(loss=scores[epoch])
        if epoch == last:
            break


def leave_by_return(run: Run, scores: Sequence[float], last: int) -> int | None:
    for epoch in run.epochs(len(scores)):
        run.log(loss=scores[epoch])
        if epoch == last:
            return epoch
    return None


def leave_by_own_exception(run: Run, scores: Sequence[float], last: int) -> None:
    with suppress(StopIteration):
        for epoch in run.epochs(len(scores)):
            run.log(loss=scores[epoch])
            if epoch == last:
                raise StopIteration


def leave_in_a_batch(run: Run, scores: Sequence[float], last: int) -> None:
    for epoch in run.epochs(len(scores)):
        for batch in run.batches(range(3)):
            run.log(loss=scores[epoch])
            if (epoch, batch) == (last, 1):
                break
        else:
            continue
        break


def leave_by_next(run: Run, scores: Sequence[float], last: int) -> None:
    epochs = run.epochs(len(scores))
    while True:
        epoch = next(epochs)
        run.log(loss=scores[epoch])
        if epoch == last:
            return


def leave_with_a_second_loop(run: Run, scores: Sequence[float], last: int) -> None:
    leave_by_break(run, scores, last - 1)
    for epoch in run.epochs(last + 1, initial_epoch=last):
        run.log(loss=scores[epoch])
        break


WAYS = [
    leave_by_break,
    leave_by_return,
    leave_by_own_exception,
    leave_in_a_batch,
    leave_by_next,
    leave_with_a_second_loop,
]


@pytest.mark.parametrize("last", [1, 2, 3])
@pytest.mark.parametrize("leave", WAYS)
def test_the_epoch_in_which_a_loop_is_left_counts(leave: Callable[..., object], last: int) -> None:
    """Its metrics are recorded and its decisions made, also in the last planned epoch; but the run is not done."""
    scores = [4.0, 3.0, 2.0, 1.0]
    subject, recorder = LineSubject(), EventRecorder()
    with Run(subject, [ModelCheckpoint("best", monitor="loss", save_best_only=True), recorder], verbose=0) as run:
        leave(run, scores, last)

    assert run.history["loss"] == scores[: last + 1]
    assert run.state.checkpoints[-1].epoch == last
    assert recorder.names.count("on_epoch_end") == last + 1
    assert recorder.names[-1] == "on_train_end"
    assert run.result.reason == f"the loop was left in epoch {last + 1}"
    assert not run.result.stopped


def test_an_epoch_that_is_left_before_its_validation_needs_no_metric_of_it() -> None:
    """A loop that is left early is no misspelt metric."""
    with Run(callbacks=[EarlyStopping(monitor="val_loss")]) as run:
        for _ in run.epochs(3):
            run.log(loss=1.0)
            break
    assert run.history == {"loss": [1.0]}


def test_an_error_at_the_end_of_an_epoch_that_was_left_ends_the_run() -> None:
    """As it would at the end of any other epoch: every plugin is called for it."""
    recorder = EventRecorder()
    callbacks = [EarlyStopping(monitor="accuracy"), recorder]
    with pytest.raises(MissingMetric, match="'accuracy'") as raised, Run(callbacks=callbacks) as run:
        for _ in run.epochs(3):
            run.log(loss=1.0)
            break
    assert recorder.names[-2:] == ["on_exception", "on_train_end"]
    assert run.error is raised.value


def test_an_epoch_that_an_error_leaves_is_not_ended() -> None:
    """Its decisions would be about an epoch that failed."""
    recorder = EventRecorder()
    with pytest.raises(ValueError, match="bad"), Run(callbacks=[recorder]) as run:
        for _ in run.epochs(3):
            run.log(loss=1.0)
            raise ValueError("bad")
    assert "on_epoch_end" not in recorder.names
    assert run.history == {}


class Loop(RuleBasedStateMachine):
    """Any legal order of the events that an adapter states."""

    def __init__(self) -> None:
        super().__init__()
        self.recorder = EventRecorder()
        self.run = Run(callbacks=[self.recorder])
        self.run.begin()
        self.expected: list[str] = ["on_train_begin"]
        self.inside: list[str] = []
        self.epoch, self.batch, self.steps, self.over, self.logged = -1, 0, 0, False, {}

    def expect(self, name: str) -> None:
        self.expected.append(name)

    def teardown(self) -> None:
        self.run.end()

    @precondition(lambda self: not self.over and not self.inside)
    @rule()
    def begin_epoch(self) -> None:
        self.epoch += 1
        self.batch, self.logged = 0, {}
        self.run.begin_epoch(self.epoch)
        self.inside.append("epoch")
        self.expect("on_epoch_begin")

    @precondition(lambda self: self.inside == ["epoch"])
    @rule(steps=st.integers(0, 3))
    def train_batch(self, steps: int) -> None:
        self.run.begin_batch(self.batch)
        self.run.end_batch(self.batch, steps=steps)
        self.batch += 1
        self.steps += steps
        self.expect("on_batch_begin")
        self.expect("on_batch_end")

    @precondition(lambda self: self.inside == ["epoch"])
    @rule(value=st.floats(-5, 5))
    def log(self, value: float) -> None:
        self.run.log(loss=value)
        self.logged.setdefault("loss", []).append(value)

    @precondition(lambda self: self.inside == ["epoch"])
    @rule(value=st.floats(-5, 5))
    def validate(self, value: float) -> None:
        with self.run.validation():
            self.run.log(loss=value)
        self.logged["val_loss"] = [value]  # each validation measures anew
        self.expect("on_validation_begin")
        self.expect("on_validation_end")

    @precondition(lambda self: self.inside == ["epoch"])
    @rule()
    def end_epoch(self) -> None:
        self.run.end_epoch()
        self.inside.pop()
        self.expect("on_epoch_end")
        means = {name: sum(values) / len(values) for name, values in self.logged.items()}
        hook, values = self.recorder.events[-1]
        assert (hook, values["epoch"], values["metrics"]) == ("on_epoch_end", self.epoch, pytest.approx(means))

    @precondition(lambda self: not self.over)
    @rule(error=st.sampled_from([None, ValueError("x")]))
    def end(self, error: Exception | None) -> None:
        left = error is None and self.inside == ["epoch"] and self.logged  # it counts
        self.run.end(error)
        self.over, self.inside = True, ["nothing"]
        self.expected += ["on_epoch_end"] * bool(left) + ["on_exception"] * (error is not None) + ["on_train_end"]

    @precondition(lambda self: self.over)
    @rule()
    def end_again(self) -> None:
        self.run.end()

    @invariant()
    def every_event_came_once_in_order(self) -> None:
        assert self.recorder.names == self.expected

    @invariant()
    def counters_are_right(self) -> None:
        assert self.run.step == self.steps
        assert self.run.epoch == max(self.epoch, 0)


TestLoop = Loop.TestCase


VALIDATIONS: list[tuple[list[dict[str, float]], dict[str, float]]] = [
    ([{"loss": 10.0}, {"loss": 2.0}], {"val_loss": 2.0}),
    ([{"loss": 2.0}, {"loss": 10.0}, {"loss": 6.0}], {"val_loss": 6.0}),
    ([{"a_loss": 1.0}, {"b_loss": 2.0}], {"val_a_loss": 1.0, "val_b_loss": 2.0}),
    ([{"loss": 1.0, "f1": 0.5}, {"loss": 3.0}], {"val_loss": 3.0, "val_f1": 0.5}),
    ([{"val_loss": 1.0}, {"loss": 3.0}], {"val_loss": 3.0}),
    ([{"mAP@0.5": 1.0}, {}, {"mAP@0.5": 3.0}], {"val_mAP@0.5": 3.0}),
    ([{"loss": 1.0}, {}], {"val_loss": 1.0}),
    ([{"val/mAP@0.50": 1.0}, {"val/mAP@0.50": 3.0}], {"val/mAP@0.50": 3.0}),
    ([{"valid_loss": 1.0}, {"valid_loss": 3.0}], {"valid_loss": 3.0}),
]


@pytest.mark.parametrize(("validations", "last"), VALIDATIONS)
def test_each_validation_measures_anew_and_the_epoch_shows_the_last(
    validations: list[dict[str, float]], last: dict[str, float]
) -> None:
    """Two states of the model are never averaged; each validation's hook has its own metrics, every epoch the last."""
    recorder = EventRecorder("on_validation_end", "on_epoch_end")
    with Run(callbacks=[recorder]) as run:
        for _ in run.epochs(2):
            for part, batch in enumerate(run.batches(range(2 * len(validations)))):
                run.log(loss=float(batch))
                if batch % 2:
                    with run.validation():
                        for value in (-1.0, 1.0):  # batches of the validation
                            run.log({name: each + value for name, each in validations[part // 2].items()})

    seen = [
        {name if name.startswith("val") else f"val_{name}": value for name, value in each.items()}
        for each in validations
    ]
    assert recorder.of("on_validation_end", "metrics") == seen * 2
    mean = (2 * len(validations) - 1) / 2
    assert recorder.of("on_epoch_end", "metrics") == [{"loss": mean, **last}] * 2


BROKEN_OFF: list[tuple[list[tuple[dict[str, float], bool]], dict[str, Any]]] = [
    ([({"loss": 1.0}, True), ({"loss": 9.0}, False)], {"val_loss": 1.0}),
    ([({"loss": 9.0}, False), ({"loss": 1.0}, True)], {"val_loss": 1.0}),
    ([({"loss": 1.0}, True), ({"loss": 9.0}, False), ({"loss": 3.0}, True)], {"val_loss": 3.0}),
    ([({"loss": 1.0}, True), ({"loss": 9.0}, False), ({"loss": 8.0}, False)], {"val_loss": 1.0}),
    ([({"loss": 1.0}, True), ({"loss": 9.0, "f1": 9.0}, False)], {"val_loss": 1.0, "val_f1": None}),
    ([({"loss": 1.0, "f1": 2.0}, True), ({"loss": 2.0}, True), ({"f1": 9.0}, False)], {"val_loss": 2.0, "val_f1": 2.0}),
    ([({"loss": 1.0}, True), ({}, False)], {"val_loss": 1.0}),
    ([({"loss": 9.0}, False)], {"val_loss": None}),
    ([({"valid_loss": 1.0}, True), ({"valid_loss": 9.0}, False)], {"valid_loss": 1.0}),
]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, StopIteration])
@pytest.mark.parametrize(("validations", "last"), BROKEN_OFF)
def test_a_validation_that_raised_does_not_count(
    validations: list[tuple[dict[str, float], bool]], last: dict[str, Any], error: type[BaseException]
) -> None:
    """The loop goes on; the epoch shows the last complete validation, or that there is no value."""
    recorder = EventRecorder("on_validation_end", "on_epoch_end")
    with Run(callbacks=[recorder, EarlyStopping(monitor="val_loss")]) as run:
        for _ in run.epochs(2):
            run.log(loss=1.0)
            for metrics, complete in validations:
                with suppress(error), run.validation():
                    run.log(metrics)
                    if not complete:
                        raise error

    assert recorder.of("on_epoch_end", "metrics") == [{"loss": 1.0, **last}] * 2
    assert len(recorder.of("on_validation_end")) == 2 * sum(complete for _, complete in validations)


def test_a_validation_that_raised_before_it_logged_is_due_in_the_next_epoch() -> None:
    """A metric that no epoch logs is an error as before."""
    with pytest.raises(MissingMetric, match=r"'val_los' is not logged; did you mean 'val_loss'"):  # noqa: SIM117
        with Run(callbacks=EarlyStopping(monitor="val_los", mode="min")) as run:
            for epoch in run.epochs(3):
                run.log(loss=1.0)
                with suppress(ValueError), run.validation():
                    if epoch < 2:
                        raise ValueError
                    run.log(loss=1.0)
    assert run.epoch == 2


@pytest.mark.parametrize("stopped_after", range(1, 8))
def test_a_resume_after_a_validation_that_raised_keeps_the_one_before(stopped_after: int) -> None:
    """Whether the complete one was before or after the interruption."""

    def train(resume: Any = None, stop: int | None = None) -> Run:
        with suppress(StopIteration), Run(LineSubject(), [ModelCheckpoint("m", save_freq=1)], resume=resume) as run:
            for _ in run.epochs(1):
                for batch in run.batches(range(8)):
                    with suppress(ValueError), run.validation():
                        run.log(loss=float(batch))
                        if batch != 2:
                            raise ValueError
                    if stop is not None and run.batch == stop:
                        raise StopIteration
        return run

    train(stop=stopped_after)

    assert train("auto").history["val_loss"] == [2.0]


@pytest.mark.parametrize("stopped_after", range(1, 8))
def test_a_resume_between_two_validations_of_an_epoch_keeps_what_the_last_measured(stopped_after: int) -> None:
    """Its metrics are those of the unbroken run."""

    def train(resume: Any = None, stop: int | None = None) -> Run:
        callbacks = [ModelCheckpoint("m", save_freq=1, save_on=())]
        with suppress(StopIteration), Run(LineSubject(), callbacks, resume=resume) as run:
            for _ in run.epochs(1):
                for batch in run.batches(range(8)):
                    run.log(loss=float(batch))
                    if batch in (1, 3, 4):
                        with run.validation():
                            run.log({"loss": float(batch), **({"first": 1.0} if batch == 1 else {})})
                    if stop is not None and run.batch == stop:
                        raise StopIteration
        return run

    unbroken = train().history
    for path in Path().glob("m*"):
        path.unlink()
    train(stop=stopped_after)
    assert train("auto").history == unbroken
    assert unbroken["val_loss"] == [4.0]
    assert unbroken["val_first"] == [1.0]


def test_metrics_without_a_value_come_after_the_others() -> None:
    """In the history and for plugins, in the order in which they were logged."""
    with Run() as run:
        for epoch in run.epochs(2):
            run.log(fid=None, bleu=None, loss=1.0)
            with run.validation():
                run.log(f1=float(epoch) if epoch else None)
    assert list(run.history.items()) == [
        ("loss", [1.0, 1.0]), ("fid", [None, None]), ("bleu", [None, None]), ("val_f1", [None, 1.0])
    ]  # fmt: skip


@pytest.mark.parametrize(
    "event",
    [
        lambda run: run.begin_batch(0),
        lambda run: run.end_batch(0),
        lambda run: run.begin_epoch(0),
        lambda run: run.begin_validation(),
        lambda run: run.end_validation(),
        lambda run: run.end_epoch({"loss": 1.0}),
    ],
    ids=["begin_batch", "end_batch", "begin_epoch", "begin_validation", "end_validation", "end_epoch"],
)
def test_an_event_before_the_begin_is_refused(event: Any) -> None:
    """In one line; the run can still begin."""
    run = Run(callbacks=EventRecorder("on_epoch_end"))
    with pytest.raises(LoopError, match=r"after begin\(\)"):
        event(run)
    with run:
        for _ in run.epochs(1):
            run.log(loss=1.0)
            for _ in run.batches([1, 2]):
                pass
    assert run.result.epochs == 1


@pytest.mark.parametrize(
    "number", [10**400, -(10**400), 10**5000, -(10**5000)], ids=["1e400", "-1e400", "1e5000", "-1e5000"]
)
@pytest.mark.parametrize(
    "use",
    [
        lambda run, number: run.log(loss=1.0, count=number),
        lambda run, number: run.log(loss=number),
        lambda run, number: next(iter(run.batches([1], accumulate=-abs(number)))),
        lambda run, number: Run(verbose=number),
        lambda run, number: Run(resume=number),
        lambda run, number: EarlyStopping(patience=-abs(number)),
        lambda run, number: EarlyStopping(min_delta=number),
    ],
)
def test_a_huge_number_is_refused_in_a_short_line(use: Callable[[Run, Any], object], number: int) -> None:
    """Python itself refuses to write such a number, and a message would be of thousands of digits."""
    with Run() as run:
        for _ in run.epochs(1):
            with pytest.raises(SettingsError) as raised:
                use(run, number)
            assert len(str(raised.value)) < 400
