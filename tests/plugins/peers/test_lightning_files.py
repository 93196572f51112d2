"""Names, versions, moments and ends of files, beside Lightning's in a real ``Trainer.fit``.

By design they differ: a value that is not finite is never among the best; versions are directories; retention may
delete the file that a run resumed from, once a better or newer one is complete.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import torch

from trainbus import Run, SettingsError
from trainbus.adapters.torch import TorchSubject
from trainbus.plugins import EarlyStopping, ModelCheckpoint

from .lightning_logs import quiet_lightning  # noqa: F401 - a fixture
from .trainings import saved, train

lightning = pytest.importorskip("lightning.pytorch", reason="needs trainbus[test]")
pytestmark = pytest.mark.exhaustive


class Clocked(lightning.LightningModule):  # type: ignore[misc]
    """Logs one of the values in each epoch, and lets time pass in each batch."""

    def __init__(self, values: Sequence[float], clock: list[float], seconds: Sequence[float], fails: int) -> None:
        super().__init__()
        self.layer, self.values, self.clock, self.fails = torch.nn.Linear(1, 1), values, clock, fails
        self.seconds = iter(seconds)

    def training_step(self, batch: torch.Tensor) -> torch.Tensor:
        self.clock[0] += next(self.seconds, 0.0)
        if self.global_step + 1 == self.fails:
            raise RuntimeError("a batch fails")
        return self.layer(batch).sum()

    def on_train_epoch_end(self) -> None:
        self.log("score", torch.tensor(self.values[self.current_epoch]))

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.SGD(self.parameters(), 0.5)
        return [optimizer], [torch.optim.lr_scheduler.StepLR(optimizer, 2, 0.5)]


def fit(
    values: Sequence[float],
    *callbacks: Any,
    batches: int = 1,
    clock: list[float] | None = None,
    seconds: Sequence[float] = (),
    fails: int = 0,
    source: Path | None = None,
    **options: Any,
) -> Any:
    """Return Lightning's trainer after an epoch for each of the values."""
    trainer = lightning.Trainer(
        accelerator="cpu",
        callbacks=list(callbacks),
        max_epochs=len(values),
        **{"logger": False, **options},
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=any(isinstance(each, lightning.callbacks.Checkpoint) for each in callbacks),
    )
    module = Clocked(values, [0.0] if clock is None else clock, seconds, fails)
    trainer.fit(module, torch.utils.data.DataLoader(torch.zeros(batches, 1)), ckpt_path=source)
    return trainer


def saver(folder: Path, filename: str = "{epoch}", **options: Any) -> Any:
    """Return Lightning's ModelCheckpoint of all epochs, whose names have no "epoch=" by themselves."""
    shared: dict[str, Any] = {"save_top_k": -1, "auto_insert_metric_name": False}
    return lightning.callbacks.ModelCheckpoint(folder, filename, **{**shared, **options})


def names(folder: Path) -> list[str]:
    """Return the names of the checkpoints in a directory, without this library's other files."""
    hidden = (".json", ".lock", ".jsonl")
    return sorted(each.name for each in folder.iterdir() if not each.name.startswith(".") and each.suffix not in hidden)


@pytest.mark.parametrize("minutes", [0.5, 1, 2])
@pytest.mark.parametrize(
    "seconds", [[7.0] * 128, [60.0] * 8, [1.0, 90.0, 200.0, 5.0] * 4, [29.0, 31.0, 0.0, 120.0] * 3]
)
def test_a_time_between_saves(
    minutes: float, seconds: list[float], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``train_time_interval``, driven through the same clock; the first is its own test: 14 saves of 896 seconds."""
    clock, batches = [1000.0], len(seconds) // 2
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    its = saver(tmp_path / "its", "{step}", train_time_interval=timedelta(minutes=minutes))
    fit([0.0, 0.0], its, batches=batches, clock=clock, seconds=seconds)
    model = torch.nn.Linear(1, 1)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    callback = ModelCheckpoint(tmp_path / "own/{step}", save_freq=timedelta(minutes=minutes))
    passing = iter(seconds)
    with Run(TorchSubject(model, optimizer), callback) as run:
        for _ in run.epochs(2):
            for _ in run.batches(range(batches)):
                clock[0] += next(passing)
                optimizer.step()

    assert saved(tmp_path / "own") == saved(tmp_path / "its", ".ckpt")
    if minutes == 1 and seconds[0] == 7:
        assert len(saved(tmp_path / "own")) == 14


@pytest.mark.parametrize(
    ("filename", "options", "template"),
    [
        ("{epoch}-{step}", {}, "epoch={epoch0}-step={step}"),
        ("{epoch:03d}-{score}", {}, "epoch={epoch0:03d}-score={score}"),
        ("{epoch},{score:.5f}", {}, "epoch={epoch0},score={score:.5f}"),
        ("{epoch:03d}-{score}", {"CHECKPOINT_EQUALS_CHAR": ":"}, "epoch:{epoch0:03d}-score:{score}"),
        ("{epoch}", {"CHECKPOINT_EQUALS_CHAR": ""}, "epoch{epoch0}"),
        ("ckpt-{step:05d}", {"FILE_EXTENSION": ".tpkc"}, "ckpt-step={step:05d}.tpkc"),
        ("deep/{epoch}", {"FILE_EXTENSION": ".bin"}, "deep/epoch={epoch0}.bin"),
    ],
)
def test_names_that_lightning_writes_by_itself(
    filename: str, options: dict[str, str], template: str, tmp_path: Path
) -> None:
    """``auto_insert_metric_name=True``, its signs and its suffix, written into ``filepath``."""
    kind = type("Own", (lightning.callbacks.ModelCheckpoint,), options)
    fit([0.5, 0.25], kind(tmp_path / "its", filename, save_top_k=-1))
    suffix = "" if options.get("FILE_EXTENSION") else ".ckpt"
    train([0.5, 0.25], ModelCheckpoint(tmp_path / "own" / (template + suffix)))
    inner = "deep" if filename.startswith("deep") else "."

    assert names(tmp_path / "own" / inner) == names(tmp_path / "its" / inner)


@pytest.mark.parametrize("template", ["last", "last-{epoch}", "{epoch}-last", "last-{step}-{score:.2f}", "newest"])
def test_a_name_of_ones_own_for_last(template: str, tmp_path: Path) -> None:
    """``CHECKPOINT_NAME_LAST``: only one such file is left."""
    kind = type("Own", (lightning.callbacks.ModelCheckpoint,), {"CHECKPOINT_NAME_LAST": template})
    its = kind(tmp_path / "its", "{step}", save_top_k=-1, save_last=True, auto_insert_metric_name=False)
    fit([0.5, 0.25, 0.125], its)
    last = template.replace("{epoch}", "{epoch0}")
    callback = ModelCheckpoint(tmp_path / "own/{step}.ckpt", save_last=True if template == "last" else last)
    train([0.5, 0.25, 0.125], callback)

    assert names(tmp_path / "own") == names(tmp_path / "its")


@pytest.mark.parametrize("top", [-1, 1, 2])
def test_a_link_to_the_last(top: int, tmp_path: Path) -> None:
    """It is relative, and leads to the newest file of those that are kept."""
    for values in ([0.5, 0.25, 0.125], [0.125, 0.25, 0.5], [0.5, 0.125, 0.25]):
        folder = tmp_path / str(values)
        its = saver(folder / "its", monitor="score", save_top_k=top, save_last="link")
        fit(values, its)
        keep = {} if top == -1 else {"keep": top}
        train(
            values,
            ModelCheckpoint(folder / "own/{epoch0}.ckpt", monitor="score", mode="min", save_last="link", **keep),
        )
        targets = [(folder / side / "last.ckpt").readlink() for side in ("own", "its")]

        assert targets[0] == targets[1]
        assert names(folder / "own") == names(folder / "its")


def test_only_the_last(tmp_path: Path) -> None:
    """``save_top_k=0, save_last=True`` is one file that each save replaces."""
    fit([0.5, 0.25], saver(tmp_path / "its", save_top_k=0, save_last=True))
    train([0.5, 0.25], ModelCheckpoint(tmp_path / "own/last.ckpt"))

    assert names(tmp_path / "own") == names(tmp_path / "its") == ["last.ckpt"]


@pytest.mark.parametrize(("top", "batches", "every"), [(1, 2, 1), (2, 3, 1), (2, 5, 2), (3, 4, 3)])
def test_the_last_of_the_steps(top: int, batches: int, every: int, tmp_path: Path) -> None:
    """``monitor="step", mode="max"`` is ``keep_last``, as is ``save_top_k=1`` without a monitor."""
    its = saver(tmp_path / "its", "{step}", save_top_k=top, monitor="step", mode="max", every_n_train_steps=every)
    fit([0.0, 0.0], its, batches=batches)
    train([0.0, 0.0], ModelCheckpoint(tmp_path / "own/{step}", save_freq=f"{every} steps", keep_last=top), batches)
    assert saved(tmp_path / "own") == saved(tmp_path / "its", ".ckpt")
    if top == 1:
        fit([0.0, 0.0], saver(tmp_path / "none", "{step}", save_top_k=1, every_n_train_steps=every), batches=batches)
        assert saved(tmp_path / "own") == saved(tmp_path / "none", ".ckpt")


@pytest.mark.parametrize("runs", [2, 3])
def test_versions_of_a_run_that_is_started_again(runs: int, tmp_path: Path) -> None:
    """Nothing of an earlier run is replaced: Lightning adds "-v1" to names, here a run has a directory."""
    for _ in range(runs):
        fit([0.5, 0.25], saver(tmp_path / "its", "{epoch}"))
        train([0.5, 0.25], ModelCheckpoint(tmp_path / "own/{epoch0}", existing="version"))
    folders = [tmp_path / "own", *sorted((tmp_path / "own").glob("version_*"))]

    assert [saved(each) for each in folders] == [["0", "1"]] * runs
    assert len(saved(tmp_path / "its", ".ckpt")) == 2 * runs


def test_no_versions(tmp_path: Path) -> None:
    """``enable_version_counter=False`` is ``existing="replace"``, the default."""
    for _ in range(2):
        fit([0.5, 0.25], saver(tmp_path / "its", save_last=True, enable_version_counter=False))
        train([0.5, 0.25], ModelCheckpoint(tmp_path / "own/{epoch0}", save_last=True))

    assert saved(tmp_path / "own") == saved(tmp_path / "its", ".ckpt") == ["0", "1", "last"]


@pytest.mark.parametrize("fails", [1, 3, 4])
def test_a_save_at_an_exception(fails: int, tmp_path: Path) -> None:
    """``OnExceptionCheckpoint`` and ``save_on_exception``: the model before the batch that fails."""
    its = lightning.callbacks.OnExceptionCheckpoint(tmp_path / "its", "on_exception")
    with pytest.raises(RuntimeError, match="fails"):
        fit([0.5, 0.25], its, batches=3, fails=fails)
    model = torch.nn.Linear(1, 1)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    callback = ModelCheckpoint(tmp_path / "own/{epoch}", save_freq="9 epochs", save_on={"exception": "on_exception"})
    with pytest.raises(RuntimeError, match="fails"), Run(TorchSubject(model, optimizer), callback) as run:
        for _ in run.epochs(2):
            for _ in run.batches(range(3)):
                if run.step + 1 == fails:
                    raise RuntimeError("a batch fails")
                optimizer.step()

    assert saved(tmp_path / "own") == saved(tmp_path / "its", ".ckpt") == ["on_exception"]
    theirs = torch.load(tmp_path / "its/on_exception.ckpt", weights_only=False)["global_step"]
    with Run(TorchSubject(model, optimizer), resume=tmp_path / "own/on_exception.pt") as resumed:
        assert resumed.resumed is not None
        for _ in resumed.epochs(1 + (fails - 1) // 3):
            assert resumed.step == theirs == fails - 1
            break


@pytest.mark.parametrize("other", [False, True], ids=["same directory", "another directory"])
def test_files_of_the_run_before_a_resume(other: bool, tmp_path: Path) -> None:
    """Its own test: 4 of 5 steps, then on to 8.

    In another directory nothing old is deleted; in the same one the older of the two files is, and here also that which
    the run has resumed from.
    """

    def go(side: str, epochs: int, folder: Path, source: Path | None) -> None:
        values = [0.0] * epochs
        if side == "its":
            its = saver(folder, "{step}", monitor="step", mode="max", save_top_k=2, every_n_train_steps=2)
            fit(values, its, batches=1, source=source)
        else:
            train(values, ModelCheckpoint(folder / "{step}", save_freq="2 steps", keep_last=2), resume=source)

    for side, suffix in (("its", "ckpt"), ("own", "pt")):
        first = tmp_path / side
        go(side, 5, first, None)
        go(side, 8, first / "new" if other else first, first / f"4.{suffix}")

    if other:
        assert saved(tmp_path / "own") == saved(tmp_path / "its", ".ckpt") == ["2", "4"]
        assert saved(tmp_path / "own/new") == saved(tmp_path / "its/new", ".ckpt") == ["6", "8"]
    else:
        assert saved(tmp_path / "own") == ["6", "8"]
        assert saved(tmp_path / "its", ".ckpt") == ["4", "6", "8"]


@pytest.mark.parametrize("mode", ["min", "max"])
def test_a_metric_that_is_always_nan(mode: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Lightning keeps such a model as the best; here none is, and one line says why."""
    fit([math.nan], saver(tmp_path / "its", monitor="score", mode=mode, save_top_k=1))
    train([math.nan], ModelCheckpoint(tmp_path / "own/{epoch}", monitor="score", mode=mode, keep=1))

    assert (saved(tmp_path / "its", ".ckpt"), saved(tmp_path / "own")) == (["0"], [])
    assert sum("was never written" in each.getMessage() for each in caplog.records) == 1


@pytest.mark.parametrize(
    "options",
    [{"keep": -3}, {"keep": 0}, {"keep_last": -1}, {"save_freq": -3}, {"save_freq": 0}, {"mode": "unknown_option"}],
)
def test_what_lightning_refuses(options: dict[str, Any]) -> None:
    """Its tests of invalid ``save_top_k``, ``every_n_epochs``, ``every_n_train_steps`` and ``mode``."""
    with pytest.raises(SettingsError, match=next(iter(options))):
        ModelCheckpoint("m-{epoch}", **options)


MINIMA = [
    *[(3, 0, 10, 10), (5, 0, 10, 10), (3, 2, 0, 6), (5, 2, 0, 10)],
    *[(3, 1, 10, 10), (5, 1, 10, 10), (3, 3, 10, 10), (5, 3, 10, 15)],
]


@pytest.mark.parametrize(("batches", "epochs", "steps", "stop"), MINIMA)
def test_its_own_table_of_minima(batches: int, epochs: int, steps: int, stop: int) -> None:
    """``min_epochs`` and ``min_steps`` hold a stop back.

    Lightning ends in the middle of an epoch where a stop waits for a number of steps; here the next look stops.
    """
    values = [float(each) for each in range(9)]
    its = lightning.callbacks.EarlyStopping("score", patience=1)
    trainer = fit(values, its, batches=batches, min_epochs=epochs, min_steps=steps)
    callback = EarlyStopping(monitor="score", mode="min", patience=1, min_epochs=epochs, min_steps=steps)
    run = train(values, callback, batches=batches)

    least = max(2, epochs, math.ceil(steps / batches))  # the first wait ends in epoch 2
    assert run.result.epochs == trainer.current_epoch == least
    assert (trainer.global_step, run.step) == (stop, least * batches)


def test_the_rates_that_its_monitor_logs(tmp_path: Path) -> None:
    """``LearningRateMonitor(logging_interval="epoch")`` is ``run.history["learning_rate"]``."""
    loggers = pytest.importorskip("lightning.pytorch.loggers")
    logger = loggers.CSVLogger(tmp_path)
    fit([0.0] * 5, lightning.callbacks.LearningRateMonitor("epoch"), logger=logger, log_every_n_steps=1)
    rows = (Path(logger.log_dir) / "metrics.csv").read_text().splitlines()
    column = rows[0].split(",").index("lr-SGD")
    theirs = [float(row.split(",")[column]) for row in rows[1:] if row.split(",")[column]]
    model = torch.nn.Linear(1, 1)
    optimizer = torch.optim.SGD(model.parameters(), 0.5)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 2, 0.5)
    with Run(TorchSubject(model, optimizer, scheduler=scheduler)) as run:
        for _ in run.epochs(5):
            optimizer.step()
            run.log(loss=1.0)
            scheduler.step()

    assert list(run.history["learning_rate"]) == theirs == [0.5, 0.5, 0.25, 0.25, 0.125]
