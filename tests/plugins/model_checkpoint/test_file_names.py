"""Tests of the names of checkpoint files."""

from collections.abc import Mapping
from math import nan
from pathlib import Path
from typing import Any

import pytest

from trainbus import MissingMetric, Run, SettingsError
from trainbus.checkpoints.filename_template import render
from trainbus.plugins import ModelCheckpoint
from trainbus.plugins.model_checkpoint import file_names
from trainbus.testing import LineSubject, scripted

from .saved_files import on_disk, saved


def test_the_template_can_use_every_metric_the_epoch_and_the_step() -> None:
    """Fields are filled from the epoch's metrics, the epoch counted from 1, and the steps made."""
    with Run(LineSubject(), ModelCheckpoint("d/{epoch:02d}-{step}-{val_loss:.2f}-{learning_rate}")) as run:
        for _ in run.epochs(1):
            for _ in run.batches("abc"):
                pass
            run.log(val_loss=0.126)

    assert [path.as_posix() for path in run.result.checkpoints] == ["d/01-3-0.13-0.5.npz"]


def test_a_field_that_nothing_logs_fails_at_the_first_epoch_end_even_if_nothing_would_be_saved() -> None:
    """The path is filled in before the metric is compared, so a misspelt field is an error at once."""
    with pytest.raises(MissingMetric, match="'val_los' is not known; did you mean 'val_loss'"):
        saved([{"val_loss": nan}], filepath="{val_los}", save_best_only=True)


def test_epochs_without_validation_are_no_mistake() -> None:
    """If validation runs every other epoch, the epochs between are saved too, their val_ fields as nan."""
    history = [{"loss": 1}, {"loss": 1, "val_loss": 0.5}, {"loss": 1}]

    assert saved(history, filepath="{epoch}-{val_loss:.1f}") == ["1-nan.npz", "2-0.5.npz", "3-nan.npz"]


def test_a_metric_that_is_logged_as_none_is_no_mistake() -> None:
    """It is nan in the name until it has a value."""
    history = [{"fid": None}, {"fid": 0.5}, {"fid": None}, {}]

    assert saved(history, filepath="{epoch}-{fid:.1f}") == ["1-nan.npz", "2-0.5.npz", "3-nan.npz", "4-nan.npz"]


@pytest.mark.parametrize("name", ["val/mAP@0.50", "precision[0]", "F1 (macro)", "bbox:AP!", "a.b", "val/AP@[0.5:0.95]"])
def test_a_metric_of_any_name_can_be_in_the_name(name: str) -> None:
    """The directory of the files is the one in front of the field, and a run resumes from them."""
    callback = ModelCheckpoint(f"runs/{{epoch}}-{{{name}:.2f}}", save_freq="epoch", save_last=True)
    assert callback.locked_directories() == (str(Path("runs").resolve()),)
    run, _ = scripted([{name: 0.5}, {name: None}, {name: 0.25}], callback, LineSubject())
    assert [path.as_posix() for path in run.result.checkpoints if path.stem != "last"] == [
        "runs/1-0.50.npz", "runs/2-nan.npz", "runs/3-0.25.npz"
    ]  # fmt: skip
    with Run(LineSubject(), callback, resume="auto") as resumed:
        assert resumed.epoch == 2


def test_a_metric_that_counts_is_whole_in_the_name() -> None:
    """Though its mean is a float; a fraction in a format of integers names the way out."""
    history = [{"tokens": 512, "errors": 3}, {"tokens": 1024, "errors": 12}]
    names = saved(history, filepath="{tokens}-{errors:03d}")
    assert names == ["512-003.npz", "1024-012.npz"]
    with pytest.raises(SettingsError, match=r"{errors:03d} does not fit 0.5; write {errors:.4f}"):
        saved([{"errors": 0.5}], filepath="{errors:03d}")
    with pytest.raises(SettingsError, match=r"{val_loss:03d}: val_loss is not an integer"):
        ModelCheckpoint("{val_loss:03d}")


def test_fixed_names_are_in_a_directory_without_fields() -> None:
    """If the directory of the template depends on the epoch, the fixed files are above it."""
    saved([{"loss": 1}, {"loss": 1}], filepath="d/{epoch}/m", save_last=True, save_on=("end",))

    assert on_disk("d") == {"last", "end"}


def test_once_all_fields_are_known_only_saved_models_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """A field that nothing logs is found in the first epochs; after that, a model that is not saved needs no name."""
    rendered: list[str] = []

    def counting(template: str, values: Mapping[str, Any]) -> str:
        rendered.append(render(template, values))
        return rendered[-1]

    monkeypatch.setattr(file_names, "render", counting)
    names = saved(
        [{"val_loss": loss} for loss in (3, 4, 5, 2, 6, 7)], filepath="m-{epoch}-{val_loss}", save_best_only=True
    )

    assert names == ["m-1-3.npz", "m-4-2.npz"]
    assert set(rendered) == set(names)
