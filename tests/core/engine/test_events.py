"""Events that a loop emits reach the plugins that name them, and are counted over the whole run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.linear_model import SGDClassifier

from trainbus import Decision, LambdaCallback, LoopError, Run, SettingsError, decision, hookimpl, journal, listens_to
from trainbus.adapters.keras import KerasCallback
from trainbus.adapters.sklearn import SklearnSubject
from trainbus.adapters.torch import TorchSubject
from trainbus.engine.events import Events
from trainbus.engine.run_state import RunState
from trainbus.failures import Failures
from trainbus.hooks import HOOKS
from trainbus.plugins import Journal, ModelCheckpoint
from trainbus.testing import LineSubject


class Listener:
    """A plugin that hears events in several ways."""

    def __init__(self) -> None:
        self.heard: list[Any] = []

    @listens_to("drawn")
    def all(self, count: int, text: str) -> None:
        self.heard.append(("all", count, text))

    @listens_to("drawn", every=3)
    def third(self, run: Any, event: str) -> None:
        self.heard.append((event, run.epoch))

    @listens_to("drawn", once=2)
    @listens_to("lost")
    def some(self, count: int, values: Mapping[str, Any], missing: str = "none") -> None:
        self.heard.append(("some", count, dict(values), missing))


def emitted(*events: tuple[str, dict[str, Any]], plugins: Any = ()) -> Run:
    with Run(LineSubject(), plugins, verbose=0) as run:
        for _ in run.epochs(1):
            for event, values in events:
                run.emit(event, **values)
            run.log(loss=1.0)
    return run


def test_a_listener_gets_what_it_names() -> None:
    """The values of the event, and the run, the event, its count and all values."""
    listener = Listener()
    emitted(*[("drawn", {"text": f"t{number}"}) for number in range(3)], ("lost", {"missing": "x"}), plugins=listener)

    assert listener.heard == [
        ("all", 1, "t0"),
        ("all", 2, "t1"),
        ("some", 2, {"text": "t1"}, "none"),
        ("all", 3, "t2"),
        ("drawn", 0),
        ("some", 1, {"missing": "x"}, "x"),
    ]


@given(st.integers(1, 6), st.integers(0, 30))
def test_every_hears_each_nth_emission_and_once_hears_one(number: int, times: int) -> None:
    """As in Ignite: counted from 1."""
    heard: dict[str, list[int]] = {"every": [], "once": []}
    every = listens_to("drawn", every=number)(lambda count: heard["every"].append(count + 0))
    once = listens_to("drawn", once=number)(lambda count: heard["once"].append(count + 0))
    with Run(callbacks=LambdaCallback(every, once)) as run:
        for _ in range(times):
            run.emit("drawn")
            run.emit("other")

    assert heard == {"every": list(range(number, times + 1, number)), "once": [number] * (times >= number)}


def test_a_star_hears_every_event() -> None:
    heard: list[Any] = []
    all_of_them = listens_to("*", every=2)(lambda event, count, values: heard.append((event, count, dict(values))))
    emitted(("a", {"x": 1}), ("b", {}), ("a", {"x": 2}), ("b", {}), plugins=LambdaCallback(all_of_them))

    assert heard == [("a", 2, {"x": 2}), ("b", 2, {})]


def test_an_event_that_nobody_hears_has_no_effect(caplog: pytest.LogCaptureFixture) -> None:
    """It is no error, and needs no plugin."""
    run = emitted(("drawn", {"x": object()}), ("lost", {}))

    assert (run.failures, caplog.records) == ([], [])


def test_a_name_that_is_nearly_one_that_is_heard_is_reported_once(caplog: pytest.LogCaptureFixture) -> None:
    """Another one is not."""
    emitted(*[("drwan", {})] * 3, ("elephants", {}), ("drawn", {"text": ""}), plugins=Listener())

    assert [each.getMessage() for each in caplog.records] == ["no plugin listens to 'drwan'; did you mean 'drawn'?"]


@pytest.mark.parametrize("event", [*HOOKS, "epoch_end", "batch_begin", "train_end", "", "*", 3, None])
def test_the_name_of_a_hook_is_refused(event: Any) -> None:
    """By the loop and by a listener; so is what is no name."""
    with pytest.raises(SettingsError, match=r"is a hook of every run; give another name|has no name; give text"):
        emitted((event, {}))
    if event != "*":
        with pytest.raises(SettingsError, match=r"is a hook of every run; give another name|has no name; give text"):
            listens_to(event)


@pytest.mark.parametrize("name", ["event", "count", "values"])
def test_a_value_with_the_name_of_another_argument_is_refused(name: str) -> None:
    with pytest.raises(SettingsError, match=rf"emit\('drawn'\): {name} is an argument of every listener"):
        emitted(("drawn", {name: 1}))


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"every": 0}, "every=0: give a whole number of at least 1"),
        ({"every": -1}, "every=-1: give a whole"),
        ({"every": True}, "every=True: give a whole"),
        ({"every": 1.5}, "every=1.5: give a whole"),
        ({"once": 0}, "once=0: give a whole"),
        ({"once": "2"}, "once='2': give a whole"),
        ({"every": 2, "once": 3}, "every=2 and once=3 are both given; give one"),
    ],
)
def test_a_filter_without_a_meaning_is_refused(options: dict[str, Any], why: str) -> None:
    with pytest.raises(SettingsError) as raised:
        listens_to("drawn", **options)

    assert why in str(raised.value)


@pytest.mark.parametrize("function", [lambda *values: None, lambda **values: None, lambda count, /: None])
def test_arguments_without_names_are_refused_when_the_run_is_made(function: Any) -> None:
    with pytest.raises(SettingsError, match=r"listens to 'drawn' and takes .*; name the arguments, or take values"):
        Run(callbacks=LambdaCallback(listens_to("drawn")(function)))


@pytest.mark.parametrize("observes", [False, True])
def test_a_value_that_is_missing_is_an_error_of_the_plugin(observes: bool) -> None:
    """It names the value and those that are given; for an observer it is reported."""
    plugin = Listener()
    plugin.critical = not observes  # type: ignore[attr-defined]
    if observes:
        run = emitted(("drawn", {"txt": "a"}), plugins=plugin)
        assert "Listener in drawn: SettingsError: Listener takes 'text', which emit('drawn')" in str(run.failures[0])
        return
    with pytest.raises(
        SettingsError, match=r"^Listener takes 'text', which emit\('drawn'\) does not give; values: txt"
    ) as raised:
        emitted(("drawn", {"txt": "a"}), plugins=plugin)
    assert raised.value.__notes__ == ["raised in drawn by the plugin 'Listener'"]


def test_what_is_neither_none_nor_a_decision_is_an_error() -> None:
    with pytest.raises(LoopError, match=r"LambdaCallback returned 3 from 'drawn'; return a Decision or None"):
        emitted(("drawn", {}), plugins=LambdaCallback(listens_to("drawn")(lambda: 3)))


def test_a_disabled_observer_hears_nothing_more() -> None:
    """After its third error, as for hooks."""
    calls: list[int] = []

    def fail(count: int) -> None:
        calls.append(count)
        raise ValueError("no")

    run = emitted(*[("drawn", {})] * 5, plugins=LambdaCallback(listens_to("drawn")(fail), critical=False))
    assert (calls, len(run.failures)) == ([1, 2, 3], 3)


def test_an_event_outside_of_the_run_is_refused() -> None:
    """Before it and after it."""
    run = Run()
    with pytest.raises(LoopError, match=r"emit\('drawn'\) belongs inside `with run:`"):
        run.emit("drawn")
    with run:
        run.emit("drawn")
    with pytest.raises(LoopError, match=r"emit\('drawn'\) belongs inside `with run:`"):
        run.emit("drawn")


def test_decisions_join_and_are_executed_at_once() -> None:
    """With the names of the plugins; the loop sees the effect after the call."""
    cut = LambdaCallback(listens_to("hard")(lambda: decision.scale_learning_rate(0.5)))
    stop = LambdaCallback(listens_to("hard", once=2)(lambda: decision.stop("too hard")))
    line = LineSubject(0.4)
    with Run(line, [cut, stop], verbose=0) as run:
        for _ in run.epochs(5):
            for _ in run.batches(range(3)):
                run.log(loss=1.0)
                run.emit("hard")
                assert line.learning_rate == (0.1 if run.stopped else 0.2)

    assert run.result.reason == "too hard"
    assert [sorted(action.by for action in each) for _, each in run.result.decisions] == [
        ["LambdaCallback"],
        ["LambdaCallback", "LambdaCallback-2"],
    ]


# --- and a resume


def resumable(emit_at: str, end_at: int = 99, resume: Any = None, *, decides: bool = False) -> tuple[Run, list[Any]]:
    """Emit one event in a place of the loop; save where it ends, and in the event itself if it decides."""
    heard: list[Any] = []

    def hear(run: Any, count: int) -> Decision | None:
        heard.append((run.epoch, count))
        return decision.save(f"run/event-{count}.npz") if decides else None

    plugins = [
        LambdaCallback(listens_to("drawn", every=2)(hear)),
        ModelCheckpoint("run/{step}", save_freq=end_at, background=False),
    ]
    with Run(LineSubject(), plugins, verbose=0, resume=resume) as run:
        for _ in run.epochs(4):
            if emit_at == "epoch begin":
                run.emit("drawn")
            for _ in run.batches(range(3)):
                if emit_at == "batch":
                    run.emit("drawn")
                if emit_at == "batch, twice":
                    run.emit("drawn")
                    run.emit("drawn")
                run.log(loss=1.0)
                if run.step >= end_at:
                    return run, heard
            if emit_at == "epoch end":
                run.emit("drawn")
    return run, heard


@pytest.mark.covering(1)
@pytest.mark.parametrize("emit_at", ["epoch begin", "batch", "batch, twice", "epoch end"])
@pytest.mark.parametrize("end_at", [1, 2, 3, 4, 5, 6, 8, 9, 11])
def test_counts_survive_a_resume_after_every_event(emit_at: str, end_at: int) -> None:
    """A resumed run hears what the unbroken one hears from there on, with the same counts."""
    _, whole = resumable(emit_at)
    resumable(emit_at, end_at)
    run, rest = resumable(emit_at, resume=f"run/{end_at}.npz")

    assert run.result.epochs == 4
    assert rest == whole[len(whole) - len(rest) :]
    begun = {
        "epoch begin": (end_at + 2) // 3,
        "batch": end_at,
        "batch, twice": 2 * end_at,
        "epoch end": (end_at - 1) // 3,
    }
    if end_at % 3:
        assert len(rest) == len(whole) - begun[emit_at] // 2


@pytest.mark.parametrize("emit_at", ["batch", "epoch end"])
def test_a_save_that_an_event_asks_for_does_not_count_what_is_emitted_again(emit_at: str) -> None:
    """A resumed run trains the batch again in which the event was emitted."""
    _, whole = resumable(emit_at, decides=True)
    _, rest = resumable(emit_at, resume="run/event-4.npz", decides=True)

    assert rest == whole[1:]


# --- journal


def test_the_journal_has_each_event_with_its_values() -> None:
    """Numbers and text; of other values the type. Values that are not finite are kept."""
    values = {"loss": torch.tensor(0.5), "text": "a" * 300, "none": None, "yes": True, "n": 3, "inf": float("inf")}
    emitted(("drawn", {**values, "image": np.zeros(3)}), ("drawn", {}), plugins=Journal("a.jsonl"))
    (found,) = journal.read(Path("a.jsonl"))
    first, second = [each for each in found.events if isinstance(each, journal.EventEmitted)]

    assert (first.name, first.count, second.count, first.epoch) == ("drawn", 1, 2, 0)
    assert first.values == {
        "loss": 0.5,
        "text": "a" * 200 + "...",
        "none": None,
        "yes": True,
        "n": 3,
        "inf": float("inf"),
        "image": "<ndarray>",
    }
    assert second.values == {}


# --- every framework


@pytest.mark.parametrize("framework", ["keras", "torch", "sklearn"])
def test_events_reach_listeners_with_every_framework(framework: str) -> None:
    """From the loop, or from a callback of the framework that owns it."""
    stop = LambdaCallback(listens_to("seen", once=3)(lambda loss: decision.stop(f"loss {loss}")))
    if framework == "keras":
        binding = KerasCallback([stop])
        model = keras.Sequential([keras.layers.Input((1,)), keras.layers.Dense(1)])
        model.compile("sgd", "mse")
        emits = keras.callbacks.LambdaCallback(on_epoch_begin=lambda epoch, logs: binding.run.emit("seen", loss=epoch))
        model.fit(np.zeros((4, 1)), np.zeros(4), epochs=9, verbose=0, callbacks=[binding, emits])
        run = binding.run
    else:
        module = torch.nn.Linear(1, 1)
        subject: Any = TorchSubject(module, torch.optim.SGD(module.parameters(), lr=0.1))
        if framework == "sklearn":
            subject = SklearnSubject(SGDClassifier(learning_rate="constant", eta0=0.1))
        with Run(subject, [stop], verbose=0) as run:
            for epoch in run.epochs(9):
                run.emit("seen", loss=epoch)
                run.log(loss=1.0)

    assert (run.result.epochs, run.result.reason) == (3, "loss 2")


# --- the part alone


class Both:
    """A plugin with a hook and a listener."""

    @hookimpl
    @listens_to("drawn")
    def on_train_begin(self) -> Decision:
        return decision.stop("begun")


def test_the_part_counts_and_joins_without_a_run() -> None:
    """One method may be a hook and listen as well."""
    events = Events({"one": Both(), "two": Both()}, RunState(), Failures())
    joint = events.emit(None, "drawn", {})

    assert {action.by for action in joint} == {"one", "two"}
    assert events.counts() == {"drawn": 1}
    events.resume({"drawn": 7})
    events.emit(None, "drawn", {})
    assert events.counts() == {"drawn": 8}
