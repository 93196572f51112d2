"""A run stops at the first metric that is NaN or infinite, and saves no such state, on the host and on a device."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import torch

from trainbus import Run, SettingsError
from trainbus.adapters.keras import KerasCallback
from trainbus.adapters.sklearn import partial_fit
from trainbus.checkpoints import newest_intact, scan
from trainbus.cli.main import main
from trainbus.plugins import EarlyStopping, ModelCheckpoint, TerminateOnNaN
from trainbus.testing import LineSubject

from ..far_tensors import Far, far

BAD = [math.nan, math.inf, -math.inf]
BATCHES = 6


def training(
    run: Run, bad: tuple[int, int], value: float = math.nan, on_device: bool = False, name: str = "loss"
) -> Run:
    """Log a value that is not finite in this epoch and batch."""
    with run:
        for epoch in run.epochs(3):
            for batch in run.batches(range(BATCHES)):
                logged: Any = value if (epoch, batch) == bad else 0.5
                run.log({name: far(logged) if on_device else logged, "accuracy": 0.5})
    return run


@pytest.mark.parametrize("value", BAD)
@pytest.mark.parametrize("bad", [(0, 0), (0, 5), (1, 0), (1, 3), (2, 5)])
def test_on_the_host_it_stops_at_that_batch(bad: tuple[int, int], value: float) -> None:
    run = training(Run(LineSubject(), TerminateOnNaN()), bad, value)

    assert run.step == bad[0] * BATCHES + bad[1] + 1
    assert run.result.reason == f"loss is {value} in batch {bad[1] + 1} of epoch {bad[0] + 1}"


@pytest.mark.parametrize("value", BAD)
@pytest.mark.parametrize("bad", [(0, 0), (0, 5), (1, 0), (1, 2), (1, 3), (1, 4), (2, 5)])
def test_on_a_device_it_stops_two_batches_later_or_at_the_end_of_the_epoch(bad: tuple[int, int], value: float) -> None:
    run = training(Run(LineSubject(), TerminateOnNaN()), bad, value, on_device=True)
    seen = min(bad[1] + 2, BATCHES - 1)

    assert run.step == bad[0] * BATCHES + seen + 1
    late = f" (found at batch {seen + 1})" if seen > bad[1] else ""
    assert run.result.reason == f"loss is {value} in batch {bad[1] + 1} of epoch {bad[0] + 1}{late}"


def test_no_batch_reads_what_the_device_has_not_had_two_batches_for() -> None:
    """The guard waits once a batch, for the flags of the batch before the previous one."""
    waits = []
    with Run(LineSubject(), TerminateOnNaN()) as run:
        for _ in run.epochs(1):
            Far.waits = 0
            for _ in run.batches(range(BATCHES)):
                waits.append(Far.waits)
                run.log(loss=far(0.5))

    assert waits == [0, 0, 0, 1, 2, 3]


@pytest.mark.parametrize("every", ["batch", "epoch"])
@pytest.mark.parametrize("on_device", [True, False])
@pytest.mark.parametrize("save_freq", ["epoch", 1, "1 step", "4 steps"])
@pytest.mark.covering(1)
def test_no_state_with_nan_is_saved_and_no_file_is_deleted(
    every: Any, on_device: bool, save_freq: Any, logged: Callable[[], list[str]]
) -> None:
    """Each file holds only metrics that are finite, although saves are due in batches whose flags are not read yet."""
    savers = [
        ModelCheckpoint("run/m-{step}", save_freq=save_freq, keep_last=2, save_on=["end", "signal", "exception"]),
        EarlyStopping(monitor="accuracy", mode="max", restore_best_weights=True, patience=9),
    ]
    training(Run(LineSubject(), [*savers, TerminateOnNaN(every=every)]), (1, 2), on_device=on_device)
    due = {"epoch": [6], "4 steps": [4, 8]}.get(save_freq, [7, 8])

    assert sorted(path.name for path in Path("run").glob("m-*.npz")) == [f"m-{step}.npz" for step in due]
    assert "TerminateOnNaN: the state is not saved, and the files from before stay" in logged()
    again = Run(LineSubject(), [*savers, TerminateOnNaN(every=every)], resume="auto")
    again.begin()
    assert again.resumed is not None
    assert again.resumed.step == due[-1]
    again.end()


@pytest.mark.parametrize("framework", ["line", "torch", "keras"])
def test_the_state_is_kept_in_a_file_that_a_resume_never_picks(framework: str) -> None:
    callbacks = [ModelCheckpoint("run/m-{epoch}"), TerminateOnNaN(save="run/nan-dump")]
    run = {"line": line_run, "torch": torch_run, "keras": keras_run}[framework](callbacks)
    (dump,) = (each for each in run.state.files if each.name.startswith("nan-dump"))
    again = Run(run.subject, callbacks, resume="auto")
    again.begin()
    again.end()

    assert dump.exists()
    assert again.resumed is not None
    assert "nan-dump" not in str(again.resumed.path)
    assert [each.entry.for_inspection for each in scan(Path("run")) if each.entry] == [True, False]
    assert newest_intact(Path("run"))[0] == again.resumed


@pytest.mark.parametrize("save", ["run/nan-dump", "./run/dump.npz", "run/a.ckpt", "run/zz", "run/last-nan", "d/n"])
@pytest.mark.parametrize("bad", [(1, 0), (2, 3)])
def test_only_its_path_leads_to_a_file_for_inspection(
    save: str, bad: tuple[int, int], capsys: pytest.CaptureFixture[str]
) -> None:
    """Neither its directory does, nor the command that lists checkpoints; a run from it saves as any other."""
    saver, guard = ModelCheckpoint("run/m-{epoch}", save_on=()), TerminateOnNaN(save=save)
    run = training(Run(LineSubject(), [saver, guard]), bad)
    dump = next(each for each in run.state.files if not each.name.startswith("m-"))
    for source in ("run", Path("run"), "auto"):
        again = Run(LineSubject(), saver, resume=source)
        again.begin()
        assert again.resumed is not None
        assert again.resumed.path == Path(f"run/m-{bad[0]}.npz")
        again.end()
    assert main(["checkpoints", "run"]) == 0
    assert f"last: m-{bad[0]}.npz" in capsys.readouterr().out
    assert main(["checkpoints", str(dump.parent), "--json"]) == 0
    listed = {Path(each["path"]).name: each for each in json.loads(capsys.readouterr().out)}
    assert (listed[dump.name]["last"], listed[dump.name]["best"]) == (False, [])
    named = Run(LineSubject(), saver, resume=dump)
    named.begin()
    assert named.resumed is not None
    assert named.resumed.step == run.step
    named.end()


def test_a_directory_with_a_file_for_inspection_only_is_refused() -> None:
    """The message has its path."""
    training(Run(LineSubject(), TerminateOnNaN(save="run/nan")), (0, 1))
    with pytest.raises(
        SettingsError, match=r"no intact checkpoint.*; to continue from what was kept, give 'run/nan.npz'"
    ):
        Run(LineSubject(), resume="run").begin()


def line_run(callbacks: list[Any]) -> Run:
    return training(Run(LineSubject(), callbacks), (1, 2))


def torch_run(callbacks: list[Any]) -> Run:
    from trainbus.adapters.torch import TorchSubject  # noqa: PLC0415

    model = torch.nn.Linear(1, 1)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    with Run(TorchSubject(model, optimizer), callbacks) as run:
        for epoch in run.epochs(3):
            for batch in run.batches(range(4)):
                x = torch.full((2, 1), math.nan if (epoch, batch) == (1, 2) else 1.0)
                loss = model(x).square().mean()
                loss.backward()
                optimizer.step()
                optimizer.zero_grad()
                run.log(loss=loss)
    assert run.step == 7
    return run


def keras_run(callbacks: list[Any], bad: int = 6, value: float = math.nan, batches: int = 4) -> Run:
    """A fit in which the batch with this number, counted over all epochs, has targets of this value."""
    bus = KerasCallback(callbacks)
    fitted(keras_model(), [bus], bad, value, batches)
    return bus.run


def keras_model() -> Any:
    keras.utils.set_random_seed(1)
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    return model


def fitted(model: Any, callbacks: list[Any], bad: int, value: float, batches: int) -> list[int]:
    """Return how many batches each epoch has trained."""
    trained: list[int] = []

    class Counts(keras.callbacks.Callback):  # type: ignore[misc]
        def on_epoch_begin(self, epoch: int, logs: object = None) -> None:
            trained.append(0)

        def on_train_batch_end(self, batch: int, logs: object = None) -> None:
            trained[-1] += 1

    def data() -> Any:
        for number in itertools.count():
            yield np.ones((2, 1), "float32"), np.full((2, 1), value if number == bad else 1.0, "float32")

    model.fit(data(), steps_per_epoch=batches, epochs=3, callbacks=[*callbacks, Counts()], shuffle=False, verbose=0)
    return trained


@pytest.mark.parametrize("value", [math.nan, math.inf, 1e30])
@pytest.mark.parametrize("bad", [0, 2, 3, 4, 11, 99])
def test_fit_stops_where_keras_stops(bad: int, value: float) -> None:
    """The real TerminateOnNaN of Keras, on the same fit; 1e30 squared is infinite in single precision."""
    theirs = fitted(keras_model(), [keras.callbacks.TerminateOnNaN()], bad, value, 4)
    bus = KerasCallback([TerminateOnNaN(monitor="loss")])
    ours = fitted(keras_model(), [bus], bad, value, 4)

    assert ours == theirs
    assert bus.run.stopped == (bad < 12)


def test_scikit_learn_stops_at_the_epoch_of_the_score() -> None:
    from sklearn.linear_model import SGDClassifier  # noqa: PLC0415

    scores = iter([0.5, 0.5, math.nan, 0.5, 0.5])
    run = partial_fit(
        SGDClassifier(),
        np.arange(8.0).reshape(8, 1),
        np.arange(8) % 2,
        epochs=4,
        scoring=lambda *_: next(scores),
        callbacks=[TerminateOnNaN()],
    )

    assert run.result.reason == "score is nan in epoch 2"


@pytest.mark.parametrize("monitor", ["loss", ("val_loss", "loss"), ["loss"]])
def test_only_the_named_metrics_count(monitor: Any) -> None:
    assert training(Run(LineSubject(), TerminateOnNaN(monitor=monitor)), (1, 2)).step == BATCHES + 3
    other = training(Run(LineSubject(), TerminateOnNaN(monitor=monitor)), (1, 2), name="grad_norm")
    assert other.step == 3 * BATCHES


def test_a_validation_counts_and_every_metric_is_named() -> None:
    with Run(LineSubject(), TerminateOnNaN()) as run:
        for _ in run.epochs(3):
            for _ in run.batches(range(2)):
                run.log(loss=1.0)
            with run.validation():
                run.log(loss=math.nan, accuracy=math.inf)

    assert run.result.reason == "val_accuracy is inf, val_loss is nan in the validation of epoch 1"


def test_a_name_that_is_not_logged_is_reported(logged: Callable[[], list[str]]) -> None:
    run = training(Run(LineSubject(), TerminateOnNaN(monitor="los")), (1, 2))

    assert len(run.failures) == 1
    assert "monitor='los' has no effect: MissingMetric: 'los' is not logged; did you mean 'loss'?" in logged()[0]


def test_parallel_runs_with_one_list_keep_a_file_each() -> None:
    listed = [TerminateOnNaN(save="dumps/{run}/nan"), ModelCheckpoint("runs/{run}/m-{epoch}")]
    for run_id in ("a", "b{epoch}", "{run}"):
        training(Run(LineSubject(), listed, run_id=run_id), (1, 2))
    drawn = training(Run(LineSubject(), listed), (0, 0))

    assert {path.parent.name for path in Path("dumps").rglob("nan.npz")} == {"a", "b{epoch}", "{run}", drawn.run_id}
    assert training(Run(LineSubject(), listed, run_id="a", resume="auto"), (9, 9)).resumed is not None


@pytest.mark.parametrize(
    ("save", "name"),
    [
        ("c/nan-{epoch}-{step}", "c/nan-2-9.npz"),
        ("c/nan-{epoch0:02d}-{batch}", "c/nan-01-3.npz"),
        ("c/{epoch}/nan.npz", "c/2/nan.npz"),
        ("c/nan-{step:06d}.npz", "c/nan-000009.npz"),
        ("c/{{epoch}}-{batch}", "c/{epoch}-3.npz"),
        ("c/{run}/{run}-{step}", "c/id/id-9.npz"),
    ],
)
def test_the_fields_of_the_name_are_filled(save: str, name: str) -> None:
    """The epoch and the batch count from 1, as in the names of checkpoints."""
    training(Run(LineSubject(), TerminateOnNaN(save=save), run_id="id"), (1, 2))
    assert [str(path) for path in Path("c").rglob("*.npz")] == [name]


@pytest.mark.parametrize("field", ["epoch", "epoch0:03d"])
def test_an_epoch_in_the_name_is_refused_in_a_loop_by_steps(field: str) -> None:
    run = Run(LineSubject(), TerminateOnNaN(save=f"nan-{{{field}}}"))
    with (
        pytest.raises(SettingsError, match=r"TerminateOnNaN: save='nan-.*has no epochs; write \{step\} in place of"),
        run,
    ):
        run.steps(range(9), 9, validate_every=3)
    with Run(LineSubject(), TerminateOnNaN(save="nan-{step}")) as run:
        for step in run.steps(range(9), 9, validate_every=3):
            run.log(loss=math.nan if step == 4 else 1.0)
            if run.validation_due:
                run.log(val_loss=1.0)
    assert Path("nan-5.npz").exists()


def test_a_resume_by_auto_needs_the_id() -> None:
    with pytest.raises(SettingsError, match=r"TerminateOnNaN: save='d/\{run\}/nan': resume='auto' needs the id"):
        Run(LineSubject(), [ModelCheckpoint("m"), TerminateOnNaN(save="d/{run}/nan")], resume="auto")


def test_two_that_write_the_same_files_are_refused() -> None:
    listed = [TerminateOnNaN(save="d/{run}/nan"), TerminateOnNaN(save="d/a/nan", every="epoch")]
    with pytest.raises(SettingsError, match="two callbacks would write"):
        Run(LineSubject(), listed, run_id="a")


@pytest.mark.parametrize(
    "save", ["run/nan", "run/7.npz", "./run/../run/nan", "run/end", "run/{step}", "run/x{batch:02d}"]
)
def test_a_file_that_a_resume_would_pick_is_refused(save: str) -> None:
    callbacks = [ModelCheckpoint("run/{loss}"), TerminateOnNaN(save=save)]
    with pytest.raises(SettingsError, match=r"would continue from this file.*; give another directory"):
        training(Run(LineSubject(), callbacks), (1, 2))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"every": "step"}, "every='step': give 'batch' or 'epoch'"),
        ({"monitor": ""}, "give text that is not empty"),
        ({"monitor": 3}, "monitor=3: give a list"),
        ({"save": ""}, "save='': give a path"),
        ({"raise_error": True}, "raise_error: unknown option; write nothing: the run stops"),
    ],
)
def test_options_are_checked(options: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        TerminateOnNaN(**options)


def test_a_subject_that_cannot_be_saved_cannot_be_kept() -> None:
    with pytest.raises(SettingsError, match="TerminateOnNaN needs"):
        Run(None, TerminateOnNaN(save="nan"))
