"""The callbacks decide as those of Lightning do in a real ``Trainer.fit``, on Lightning's own tables and on others.

By design they differ: a value that is not finite is never among the best, and of equal values the earlier is better.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import pytest
import torch

from trainbus import Run
from trainbus.adapters.torch import TorchSubject
from trainbus.checkpoints.names.filename_template import render
from trainbus.plugins import EarlyStopping, ModelCheckpoint

from .lightning_logs import quiet_lightning  # noqa: F401 - a fixture
from .trainings import histories, saved, stopped_after, train

lightning = pytest.importorskip("lightning.pytorch", reason="needs trainbus[test]")
pytestmark = pytest.mark.exhaustive
Mode = Literal["min", "max"]


class Logging(lightning.LightningModule):  # type: ignore[misc]
    """Logs one of the values in each epoch."""

    def __init__(self, values: Sequence[float]) -> None:
        super().__init__()
        self.layer, self.values = torch.nn.Linear(1, 1), values

    def training_step(self, batch: torch.Tensor) -> torch.Tensor:
        return self.layer(batch).sum()

    def on_train_epoch_end(self) -> None:
        self.log("score", torch.tensor(self.values[self.current_epoch]))
        self.log("flat", 0.0)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), 0.01)


def fit(values: Sequence[float], callbacks: Any, batches: int = 1, source: Path | None = None) -> int:
    """Return the number of epochs that Lightning trains."""
    trainer = lightning.Trainer(
        accelerator="cpu",
        callbacks=callbacks,
        max_epochs=len(values),
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=any(isinstance(each, lightning.callbacks.ModelCheckpoint) for each in callbacks),
    )
    trainer.fit(Logging(values), torch.utils.data.DataLoader(torch.zeros(batches, 1)), ckpt_path=source)
    return trainer.current_epoch


def in_lightning(folder: Path) -> list[str]:
    """Return the names of its checkpoints as this library counts epochs: from 1."""
    names = (name.partition("=") for name in saved(folder, ".ckpt"))
    return sorted(str(int(value) + 1) if field == "epoch" else value or field for field, _, value in names)


TABLE = [([6, 5, 5, 5, 5, 5], 3), ([6, 5, 4, 4, 3, 3], 1), ([6, 5, 6, 5, 5, 5], 3), ([8, 4, 2, 3, 4, 5, 8, 10], 3)]


@pytest.mark.parametrize(("values", "patience"), TABLE)
def test_its_own_tables_of_early_stopping(values: list[float], patience: int) -> None:
    """The same epoch is the last."""
    its = fit(values, [lightning.callbacks.EarlyStopping("score", patience=patience)])

    assert stopped_after(values, mode="min", patience=patience) == its


@pytest.mark.parametrize("mode", ["min", "max"])
def test_early_stopping(mode: Mode) -> None:
    """With any patience and min_delta."""
    for number, values in enumerate(histories(100)):
        options = {"patience": number % 5, "min_delta": (0.0, 0.5, 1.0)[number % 3]}
        its = fit(values, [lightning.callbacks.EarlyStopping("score", mode=mode, **options)])

        assert stopped_after(values, mode=mode, **options) == its, (values, options)


@pytest.mark.parametrize("mode", ["min", "max"])
@pytest.mark.parametrize("check_finite", [False, True])
def test_thresholds_of_early_stopping(mode: Mode, check_finite: bool) -> None:
    """Good enough, bad enough, or not finite; the values and thresholds are exact in float32, the type it logs in."""
    good, bad = (0.25, 2.5) if mode == "min" else (2.5, 0.25)
    for number, values in enumerate(histories(60)):
        if number % 3 == 0:
            values[len(values) // 2 :] = [math.nan, *values[len(values) // 2 + 1 :]]
        options: dict[str, Any] = {
            "patience": number % 4 + 2,
            "stopping_threshold": good if number % 2 else None,
            "divergence_threshold": bad if number % 4 > 1 else None,
            "check_finite": check_finite,
        }
        its = fit(values, [lightning.callbacks.EarlyStopping("score", mode=mode, **options)])

        assert stopped_after(values, mode=mode, **options) == its, (values, options)


@pytest.mark.parametrize("threshold", [0.5, 1.0, 2.0])
@pytest.mark.parametrize("mode", ["min", "max"])
def test_a_value_at_a_threshold_does_not_cross_it(threshold: float, mode: Mode) -> None:
    """Both thresholds are strict."""
    for name, values in (
        (
            "stopping_threshold",
            [3.0, threshold, threshold, 0.25] if mode == "min" else [0.25, threshold, threshold, 3.0],
        ),
        (
            "divergence_threshold",
            [0.25, threshold, threshold, 3.0] if mode == "min" else [3.0, threshold, threshold, 0.25],
        ),
    ):
        its = fit(values, [lightning.callbacks.EarlyStopping("score", mode=mode, patience=9, **{name: threshold})])

        assert stopped_after(values, mode=mode, patience=9, **{name: threshold}) == its == 4


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_check_finite_stops_at_the_first_value_that_is_not_finite(value: float) -> None:
    """Also in the first epoch, and at an infinity in the direction of improvement."""
    for values in ([value, 1.0, 1.0], [1.0, value, 1.0], [2.0, 1.0, value, 0.5]):
        its = fit(values, [lightning.callbacks.EarlyStopping("score", patience=9, check_finite=True)])

        assert stopped_after(values, mode="min", patience=9, check_finite=True) == its == values.index(value) + 1


@pytest.mark.parametrize("patience", [1, 2, 4, 6])
@pytest.mark.parametrize("order", [1, -1])
def test_the_first_of_two_that_stops_counts(patience: int, order: int) -> None:
    """Lightning's test of it, in either order and with other patience."""
    values, metrics = [8, 4, 2, 3, 4, 5, 8, 10], [("score", patience), ("flat", 3)][::order]
    its = fit(values, [lightning.callbacks.EarlyStopping(name, patience=number) for name, number in metrics])
    callbacks = [EarlyStopping(monitor=name, mode="min", patience=number) for name, number in metrics]
    with Run(callbacks=callbacks) as run:
        for epoch in run.epochs(len(values)):
            run.log(score=values[epoch], flat=0.0)

    assert run.result.epochs == its


def compare_kept(values: Sequence[float], folder: Path, *, top: int, mode: Mode, last: bool, every: int) -> None:
    """Assert that both libraries have kept the same models."""
    its = lightning.callbacks.ModelCheckpoint(
        folder / "its",
        "{epoch}",
        monitor="score",
        mode=mode,
        save_top_k=top,
        save_last=last or None,
        every_n_epochs=every,
    )
    fit(values, [its])
    keep = {} if top == -1 else {"keep": top}
    (folder / "own").mkdir()
    callback = ModelCheckpoint(
        folder / "own" / "{epoch}", monitor="score", mode=mode, save_last=last, save_freq=f"{every} epochs", **keep
    )
    train(values, callback)

    (folder / "its").mkdir(exist_ok=True)
    assert saved(folder / "own") == in_lightning(folder / "its"), values


@pytest.mark.parametrize(("top", "last", "every"), [(2, True, 1), (-1, False, 2)])
def test_the_best_are_kept(top: int, last: bool, every: int, tmp_path: Path) -> None:
    """Of six models whose metric goes up and down."""
    compare_kept([3.0, 1.0, 2.0, 0.5, 4.0, 1.5], tmp_path, top=top, mode="min", last=last, every=every)


@pytest.mark.parametrize("top", [-1, 1, 2, 3])
@pytest.mark.parametrize("mode", ["min", "max"])
@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("every", [1, 2])
def test_the_best_of_any_history_are_kept(top: int, mode: Mode, last: bool, every: int, tmp_path: Path) -> None:
    """Of values that are distinct."""
    for number, values in enumerate(histories(8, distinct=True)):
        if len(values) < every:  # Lightning then writes the file "last" at the end
            continue
        folder = tmp_path / str(number)
        folder.mkdir()
        compare_kept(values, folder, top=top, mode=mode, last=last, every=every)


@pytest.mark.parametrize("every", [1, 2, 3, 5])
@pytest.mark.parametrize("batches", [3, 4])
def test_saves_at_steps(every: int, batches: int, tmp_path: Path) -> None:
    """Counted over all epochs, with the last model each time."""
    its = lightning.callbacks.ModelCheckpoint(
        tmp_path / "its", "{step}", save_top_k=-1, every_n_train_steps=every, save_last=True
    )
    fit([1.0, 1.0], [its], batches)
    train([1.0, 1.0], ModelCheckpoint(tmp_path / "own" / "{step}", save_freq=f"{every} steps", save_last=True), batches)

    assert saved(tmp_path / "own") == in_lightning(tmp_path / "its")


@pytest.mark.parametrize("mode", ["min", "max"])
def test_a_nan_in_the_first_epoch_is_replaced_by_any_value(mode: Mode, tmp_path: Path) -> None:
    """Lightning's test of it: the last of three values that become better is kept."""
    values = [math.nan, *([8, 7, 5] if mode == "min" else [5, 7, 8])]
    compare_kept(values, tmp_path, top=1, mode=mode, last=False, every=1)


@pytest.mark.parametrize("top", [1, 2, 3])
@pytest.mark.parametrize("other", [False, True], ids=["same directory", "another directory"])
def test_a_resumed_run_keeps_the_same(top: int, other: bool, tmp_path: Path) -> None:
    """In another directory neither library counts the files of the earlier run, and neither deletes them."""
    values, begun = [5.0, 1.0, 0.5, 2.0, 3.0, 1.5, 4.0], 3
    for name, suffix in (("its", "ckpt"), ("own", "pt")):
        old, new = tmp_path / name, tmp_path / name / "new" if other else tmp_path / name
        for folder, until, source in ((old, begun, None), (new, len(values), old / f"last.{suffix}")):
            if name == "its":
                callback = lightning.callbacks.ModelCheckpoint(
                    folder, "{epoch}", monitor="score", save_top_k=top, save_last=True, enable_version_counter=False
                )
                fit(values[:until], [callback], source=source)
            else:
                own = ModelCheckpoint(folder / "{epoch}", monitor="score", mode="min", keep=top, save_last=True)
                train(values[:until], own, resume=source)

    assert saved(tmp_path / "own") == in_lightning(tmp_path / "its")
    if other:
        assert saved(tmp_path / "own/new") == in_lightning(tmp_path / "its/new")


@pytest.mark.parametrize(
    ("template", "metrics"),
    [
        ("{epoch:03d}-{acc}", {"acc": 0.03}),
        ("{epoch:03d}-{epoch_test:03d}", {"epoch_test": 3}),
        ("test@{epoch},{acc:.5f}", {"acc": 0.03}),
        ("epoch={epoch:03d}-val_acc={val/acc}", {"val/acc": 0.03}),
        ("mAP@0.50={val/mAP@0.50:.4f}", {"val/mAP@0.50": 0.2}),
        ("{epoch}-{step}", {}),
        ("{epoch:d}", {}),
        ("ckpt", {}),
        ("sample-mnist-epoch{epoch:02d}-val_loss{val/loss:.2f}", {"val/loss": 0.32}),
    ],
)
def test_its_own_table_of_names(template: str, metrics: dict[str, float], tmp_path: Path) -> None:
    """With ``auto_insert_metric_name=False``, and this library's suffix."""
    its = lightning.callbacks.ModelCheckpoint(tmp_path, template, auto_insert_metric_name=False)
    values = {**metrics, "epoch": 1, "step": 1}
    expected = Path(its.format_checkpoint_name(dict(values))).name.removesuffix(".ckpt")
    run = train_once(ModelCheckpoint(tmp_path / template), metrics)

    assert [path.name for path in run.result.checkpoints] == [f"{expected}.pt"]
    assert render(template, values) == expected


def train_once(callback: ModelCheckpoint, metrics: dict[str, float]) -> Any:
    """Return a run of one epoch that logs the metrics."""
    model = torch.nn.Linear(1, 1)
    with Run(TorchSubject(model, torch.optim.SGD(model.parameters(), 0.01)), callback) as run:
        for _ in run.epochs(1):
            run.step += 1
            run.log(metrics)
    return run


def test_its_directories_in_the_home_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A leading ~ is the home directory; "./~" is a directory of that name."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for given in ("~/checkpoints", Path("~/others"), "./~/checkpoints"):
        its = lightning.callbacks.ModelCheckpoint(given)
        train([1.0], ModelCheckpoint(f"{given}/m" if isinstance(given, str) else given / "m"))
        assert (Path(its.dirpath) / "m.pt").is_file()
