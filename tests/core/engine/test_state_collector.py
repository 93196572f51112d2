"""A resumption restores the state that a collector stores; a plugin whose state no file can hold is refused at once."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from trainbus import CheckpointError, Decision, Run, SettingsError, decision, hookimpl
from trainbus.checkpoints import Checkpoint, ManifestEntry
from trainbus.decision import REQUEST, Stop
from trainbus.engine.execution_result import ExecutionResult
from trainbus.engine.run_state import RunState
from trainbus.failures import MAX_FAILURES, Failures
from trainbus.plugins import EarlyStopping, ModelCheckpoint
from trainbus.resume.resumption import Resumption
from trainbus.resume.state import CheckpointState
from trainbus.testing import LineSubject

from .parts import parts_for


class Remembers:
    """A plugin whose state is its argument."""

    def __init__(self, state: object = None) -> None:
        self.state = state

    @hookimpl
    def on_epoch_end(self) -> None: ...

    def state_dict(self) -> Any:
        if isinstance(self.state, Exception):
            raise self.state
        return self.state

    def load_state_dict(self, state: Any) -> None:
        self.state = state


class ObserverRemembers(Remembers):
    critical = False


class Layer(torch.nn.Module):
    """A module that listens."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(2))

    @hookimpl
    def on_epoch_end(self) -> None: ...


plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=5,
)
metrics = st.dictionaries(st.sampled_from(["loss", "acc"]), st.floats(allow_nan=False, width=32), max_size=2)


@given(st.lists(metrics, max_size=4), st.integers(0, 9), st.integers(0, 50), plain, st.booleans(), st.data())
def test_what_a_collector_stores_a_resumption_restores(
    epochs: list[Mapping[str, float]], batches: int, step: int, remembered: object, mid_epoch: bool, data: st.DataObject
) -> None:
    """Counters, history, decisions, stops, running means and the states of plugins, through JSON."""
    state, _, collector, _ = parts_for(LineSubject(), {"p": Remembers(remembered)})
    for epoch, values in enumerate(epochs):
        state.start_epoch(epoch)
        state.finish_epoch(dict(values))
        state.record(ExecutionResult(decision.keep(f"slot {epoch}").signed("p")), lambda _: True)
    if mid_epoch:
        state.start_epoch(len(epochs))
        state.loops = 1
        state.means.add("loss", 2.5, 4)
        state.counters.trained_batches = batches
    state.step = step
    stops = [Stop(reason="enough", by="loop"), Stop(reason="SIGTERM asked for it", by=REQUEST)]
    state.stop_actions += data.draw(st.permutations(stops))
    folder = Path(tempfile.mkdtemp())
    asked = decision.save(str(folder / "m.npz")).signed("p")
    memory = collector.checkpoint_state(asked).model_dump_json(exclude_defaults=True)
    log = collector.history_for(folder / "m.npz")
    log.write()

    entry = ManifestEntry(digest="", size=0, epoch=state.epoch, step=state.step)
    stored = CheckpointState.model_validate_json(memory).model_dump() | {"history": log.reference(folder).model_dump()}
    checkpoint = Checkpoint(path=folder / "m.npz", entry=entry.model_copy(update={"run_state": stored}))
    plugin, back, failures = Remembers(), RunState(LineSubject()), Failures()
    resumption = Resumption(checkpoint, None, {"p": plugin}, {})
    resumption.restore_run(back)
    resumption.restore_plugins(back.subject, failures)
    assert (resumption.mid_epoch, resumption.position, resumption.last_decision.decision()) == (
        mid_epoch,
        state.position,
        asked,
    )
    assert (back.epoch, back.step, back.epochs_finished) == (state.epoch, state.step, len(epochs))
    assert back.epoch_metrics == state.epoch_metrics
    assert back.decision_log == state.decision_log
    assert back.stop_actions == stops[:1], "a request ends one run only"
    assert plugin.state == remembered
    assert not failures.all
    if mid_epoch:
        back.epochs_started += 1
        resumption.restore_epoch(back)
        assert back.means.sums() == state.means.sums()
        assert back.counters.trained_batches == batches


def test_a_save_that_a_signal_asked_for_stores_no_decision() -> None:
    """A resumed run has nothing to finish; the stop of the signal is not in the log either."""
    state, _, collector, _ = parts_for(LineSubject())
    state.interrupted = True
    signal = Decision(frozenset([Stop(reason="SIGTERM asked for it", by=REQUEST)]))
    state.record(ExecutionResult(signal), lambda _: True)
    stored = collector.checkpoint_state(decision.save("m.npz").signed("p"))

    assert (stored.decision, stored.stop_actions) == ([], [])
    assert Resumption(
        Checkpoint(
            path=Path("m.npz"),
            entry=ManifestEntry(digest="", size=0, epoch=0, step=0, run_state=stored.model_dump()),
        ),
        None,
        {},
        {},
    ).last_decision.decision() == Decision(frozenset())


# --- states that no file can hold

NO_PLAIN_DATA = [
    ({"weights": torch.ones(2)}, "['weights'] is of type Tensor, which is not plain data"),
    ({"nested": [1, {"scores": np.ones(3)}]}, "['nested'][1]['scores'] is of type ndarray, which is not plain data"),
    ({"empty": np.zeros(())}, "['empty'] is of type ndarray, which is not plain data"),
    ({"file": object()}, "['file'] is of type object, which is not plain data"),
    (object(), "it is of type object, which is not plain data"),
]


def runs_of(plugin: object) -> Run:
    """Train two epochs that save."""
    with Run(LineSubject(), [ModelCheckpoint("run/m-{epoch}"), plugin], verbose=0) as run:
        for _ in run.epochs(2):
            run.log(val_loss=1.0)
    return run


@pytest.mark.parametrize(("state", "problem"), NO_PLAIN_DATA, ids=["tensor", "array", "0-d array", "object", "itself"])
def test_a_plugin_whose_state_is_no_plain_data_is_refused_by_name(state: object, problem: str) -> None:
    """When the run begins: no epoch is trained, and no file of an earlier run is replaced."""
    runs_of(Remembers(1))
    before = {path: path.read_bytes() for path in Path("run").rglob("m-*")}
    trained = []
    with (
        pytest.raises(SettingsError) as refused,
        Run(LineSubject(), [ModelCheckpoint("run/m-{epoch}"), Remembers(state)], verbose=0) as run,
    ):
        trained += list(run.epochs(2))

    assert str(refused.value) == f"Remembers: state_dict(): {problem}; use numbers, text, lists and mappings"
    assert trained == []
    assert {path: path.read_bytes() for path in Path("run").rglob("m-*")} == before


def test_a_module_that_is_listed_as_a_plugin_is_refused() -> None:
    """The state_dict of an ``nn.Module`` holds its weights, which the subject saves."""
    refusal = r"^Layer: state_dict\(\): \['weight'\] is of type \w+, which is not plain data"
    with pytest.raises(SettingsError, match=refusal):
        runs_of(Layer())


@pytest.mark.parametrize("scalar", [np.float32(0.5), np.float64(2.5), np.int64(3), np.bool_(True)])
def test_a_numpy_scalar_is_a_number(scalar: Any) -> None:
    """It is stored and loaded as Python's."""
    plugin = Remembers({"best": scalar})
    runs_of(plugin)
    again = Remembers()
    with Run(LineSubject(), [ModelCheckpoint("run/m-{epoch}"), again], resume="auto", verbose=0):
        pass

    assert again.state == {"best": scalar.item()}
    assert type(again.state["best"]) is type(scalar.item())


def test_an_observer_whose_state_is_no_plain_data_is_reported() -> None:
    """The run saves without it, at each save, until the observer is disabled."""
    run = runs_of(ObserverRemembers(object()))

    assert [(each.plugin, each.hook) for each in run.failures] == [("ObserverRemembers", "state_dict")] * 2
    assert len(run.failures) < MAX_FAILURES
    assert [path.name for path in run.state.files] == ["m-1.npz", "m-2.npz"]


@pytest.mark.parametrize("error", [ZeroDivisionError("no epoch"), RuntimeError("lost")])
def test_a_state_that_cannot_be_asked_for_names_the_plugin(error: Exception) -> None:
    """An error of ``state_dict`` is raised unchanged, before anything is trained."""
    with pytest.raises(type(error)) as raised:
        runs_of(Remembers(error))

    assert raised.value is error
    assert error.__notes__ == ["raised in state_dict by the plugin 'Remembers'"]
    assert not list(Path("run").rglob("m-*"))


def test_the_settings_of_callbacks_are_stored_with_their_states() -> None:
    """By them, a resumed run finds the state of each plugin."""
    callback = EarlyStopping(monitor="loss", patience=3)
    (stored,) = parts_for(None, None, callback).collector.checkpoint_state(Decision(frozenset())).plugins

    assert (stored.name, stored.callback) == ("EarlyStopping", "EarlyStopping")
    assert {"callback": stored.callback, **stored.settings} == callback.settings()


class Tolerated(LineSubject):
    """A subject whose state, or whose file, cannot be had."""

    def __init__(self, failing: str = "", error: Exception | None = None) -> None:
        super().__init__()
        self._failing, self._error = failing, error

    def run_state(self) -> Any:
        return self._fail("run_state")

    def load_run_state(self, state: Any) -> None: ...

    def save(self, path: Path, *, weights_only: bool) -> object:
        self._fail("save")
        return super().save(path, weights_only=weights_only)

    def snapshot_writer(self, *, weights_only: bool) -> Any:
        self._fail("snapshot_writer")
        copy = Tolerated(self._failing, self._error)
        copy.restore(self.snapshot())
        return lambda path: copy.save(path, weights_only=weights_only)

    def _fail(self, method: str) -> None:
        if self._error is not None and self._failing == method:
            raise self._error


class FailsLater:
    """A plugin whose state cannot be had after the training has begun."""

    def __init__(self, error: Exception, epoch: int = 0) -> None:
        self.error, self.epoch, self.now = error, epoch, -1

    @hookimpl
    def on_epoch_end(self, epoch: int) -> None:
        self.now = epoch

    def state_dict(self) -> Any:
        if self.now >= self.epoch:
            raise self.error
        return None

    def load_state_dict(self, state: Any) -> None: ...


ERRORS = [RuntimeError("lost"), AttributeError("no such thing"), TypeError("not plain"), OSError("disk"), KeyError("k")]
FAILING: list[Any] = [
    *((LineSubject(), Remembers(error)) for error in ERRORS),
    *((LineSubject(), FailsLater(error)) for error in ERRORS),
    (LineSubject(), FailsLater(ValueError("x"), epoch=1)),
    *((Tolerated(method, ValueError("x")), None) for method in ("run_state", "save", "snapshot_writer")),
]


@pytest.mark.parametrize(("subject", "plugin"), FAILING)
@pytest.mark.parametrize("background", [None, False])
def test_on_error_warn_covers_every_way_in_which_a_save_can_fail(
    subject: Any, plugin: Any, background: bool | None, caplog: pytest.LogCaptureFixture
) -> None:
    """The training goes on to its end, and each save that failed is a line that says why."""
    saver = ModelCheckpoint("run/m-{epoch}", on_error="warn", background=background, save_last=True)
    with Run(subject, [saver, *([plugin] if plugin else [])], verbose=0) as run:
        for _ in run.epochs(3):
            run.log(loss=1.0)

    unused = background is False and getattr(subject, "_failing", "") == "snapshot_writer"
    assert run.result.epochs == 3
    assert (run.failures != []) is not unused
    assert ("the training continues" in caplog.text) is not unused
    assert (len(list(Path("run").glob("m-*.npz"))) < 3) is not unused


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (RuntimeError("unexpected pos 64"), "RuntimeError: unexpected pos 64"),
        (RuntimeError(), "RuntimeError"),
        (MemoryError(), "MemoryError"),
        (NotImplementedError("later"), "NotImplementedError: later"),
        (RecursionError("too deep"), "RecursionError: too deep"),
        (ValueError("x"), "ValueError: x"),
        (KeyError("w"), "KeyError: 'w'"),
        (OSError(28, "No space left on device"), r"\[Errno 28\] No space left on device"),
        (OSError(), "OSError"),
    ],
)
@pytest.mark.parametrize("method", ["save", "run_state"])
@pytest.mark.parametrize("background", [None, False])
def test_the_line_of_a_failed_save_has_the_type_of_the_error(
    error: Exception, words: str, method: str, background: bool | None, caplog: pytest.LogCaptureFixture
) -> None:
    """Also if the training thread wrote the file, and if the error has no message."""
    saver = ModelCheckpoint("run/m", on_error="warn", background=background)
    with Run(Tolerated(method, error), [saver], verbose=0) as run:
        for _ in run.epochs(1):
            run.log(loss=1.0)
    assert re.search(rf"(was not written|the state cannot be saved): {words}; the training continues", caplog.text)


@pytest.mark.parametrize(("subject", "plugin"), FAILING)
def test_on_error_raise_ends_the_run_if_a_save_fails(subject: Any, plugin: Any) -> None:
    saver = ModelCheckpoint("run/m-{epoch}")
    error = subject._error if plugin is None else vars(plugin).get("error") or vars(plugin)["state"]
    with (
        pytest.raises((type(error), CheckpointError, SettingsError), match=str(error.args[0])),
        Run(subject, [saver, *([plugin] if plugin else [])], verbose=0) as run,
    ):
        for _ in run.epochs(3):
            run.log(loss=1.0)
