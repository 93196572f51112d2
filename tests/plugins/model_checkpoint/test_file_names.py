"""Tests of the names of checkpoint files."""

from collections.abc import Callable, Mapping
from math import nan
from pathlib import Path
from typing import Any

import pytest

from trainbus import MissingMetric, Run, SettingsError
from trainbus.checkpoints.names.filename_template import render
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
    with pytest.raises(MissingMetric, match=r"^ModelCheckpoint: .*: 'val_los' is not known; did you mean 'val_loss'"):
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
    """Though its mean is a float; a metric that cannot count is refused when the callback is made."""
    history = [{"tokens": 512, "errors": 3}, {"tokens": 1024, "errors": 12}]
    names = saved(history, filepath="{tokens}-{errors:03d}")
    assert names == ["512-003.npz", "1024-012.npz"]
    with pytest.raises(SettingsError, match=r"{val_loss:03d}: val_loss is not an integer"):
        ModelCheckpoint("{val_loss:03d}")


MISFITS: dict[str, tuple[str, list[float], list[str], str]] = {
    "a fraction at once": ("{n:03d}", [0.5, 2.0], ["0.5", "002"], "{n:03d} does not fit 0.5"),
    "a fraction later": ("{n:03d}", [1.0, 2.0, 2.5, 3.5], ["001", "002", "2.5", "3.5"], "{n:03d} does not fit 2.5"),
    "hexadecimal": ("{n:x}", [10.0, 0.25], ["a", "0.25"], "{n:x} does not fit 0.25"),
    "binary": ("m{n:08b}", [2.0, -1.5], ["m00000010", "m-1.5"], "{n:08b} does not fit -1.5"),
    "a character": ("m{n:c}", [65.0, 1e9], ["mA", "m1000000000"], "{n:c} does not fit 1000000000.0"),
    "too large for an exact integer": ("{n:d}", [1.0, 1e20], ["1", "1e+20"], "{n:d} does not fit 1e+20"),
    "thousands": ("m{n:,d}", [1000.0, 1000.5], ["m1,000", "m1000.5"], "{n:,d} does not fit 1000.5"),
    "a name with signs": ("{val/n@1:d}", [3.0, 0.1], ["3", "0.1"], "{val/n@1:d} does not fit 0.1"),
}
"""A template, the values of its metric, the names of the files, and the report."""


@pytest.mark.parametrize("case", MISFITS)
@pytest.mark.parametrize("options", [{}, {"save_best_only": True, "mode": "max"}, {"keep": 9, "mode": "min"}])
def test_a_value_that_does_not_fit_its_format_is_saved_and_reported_once(
    case: str, options: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    """The name of a metric need not show whether it is whole; a model that was trained is saved whatever it is."""
    template, values, names, said = MISFITS[case]
    if options:
        options = {**options, "monitor": "score"}
    metric = "val/n@1" if "@" in template else "n"
    history = [{metric: value, "score": float(epoch)} for epoch, value in enumerate(values)]
    assert saved(history, filepath=template, **options) == [f"{name}.npz" for name in names]
    [line] = [each.getMessage() for each in caplog.records if "does not fit" in each.getMessage()]
    assert said in line
    assert f"write {{{metric}:.4f}} for any number" in line


def test_a_resumed_run_reports_it_before_it_trains(caplog: pytest.LogCaptureFixture) -> None:
    """The values of earlier epochs are known then; the run goes on, and finds the files of either name."""
    callback = ModelCheckpoint("runs/{epoch}-{n:03d}", keep_last=2)
    scripted([{"n": 1.0}, {"n": 2.5}], callback, LineSubject())
    assert on_disk("runs") == {"1-001", "2-2.5"}
    caplog.clear()
    with Run(LineSubject(), callback, resume="auto") as run:
        assert "{n:03d} does not fit 2.5; write {n:.4f}" in caplog.text
        for _ in run.epochs(4):
            run.log(n=0.25)
    assert caplog.text.count("does not fit") == 1
    assert on_disk("runs") == {"3-0.25", "4-0.25"}


def test_fixed_names_are_in_a_directory_without_fields() -> None:
    """If the directory of the template depends on the epoch, the fixed files are above it."""
    saved([{"loss": 1}, {"loss": 1}], filepath="d/{epoch}/m", save_last=True, save_on=("end",))

    assert on_disk("d") == {"last", "end"}


def test_once_all_fields_are_known_only_saved_models_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """A field that nothing logs is found in the first epochs; after that, a model that is not saved needs no name."""
    rendered: list[str] = []

    def counting(template: str, values: Mapping[str, Any], report: Callable[[str], object]) -> str:
        rendered.append(render(template, values, report))
        return rendered[-1]

    monkeypatch.setattr(file_names, "render", counting)
    names = saved(
        [{"val_loss": loss} for loss in (3, 4, 5, 2, 6, 7)], filepath="m-{epoch}-{val_loss}", save_best_only=True
    )

    assert names == ["m-1-3.npz", "m-4-2.npz"]
    assert set(rendered) == set(names)


@pytest.mark.parametrize("template", ["v1.5-{epoch}", "m.{epoch}", "mAP@0.5={mAP@0.5:.2f}.{step}", "a.b/{epoch}.x=1"])
def test_names_with_dots_are_saved_kept_and_found_again(template: str) -> None:
    """A dot in the name is no suffix, neither for retention nor when a resumed run looks for its files."""
    callback = ModelCheckpoint(template, keep_last=2, save_last=True)
    for epochs in (3, 5):
        with Run(LineSubject(), callback, resume="auto") as run:
            for epoch in run.epochs(epochs):
                run.step += 1
                run.log({"mAP@0.5": epoch / 10})
    assert run.resumed is not None
    assert run.resumed.epoch == 2
    kept = ({"epoch": n, "step": n, "mAP@0.5": (n - 1) / 10} for n in (4, 5))
    names = {Path(render(template, values)).name for values in kept}
    assert on_disk(Path(template).parent) == {*names, "last"}


@pytest.mark.parametrize("save_freq", ["validation", "1 step", 1, "50%"])
def test_a_metric_that_a_batch_logs_as_none_becomes_nan(save_freq: Any) -> None:
    """At the end of a batch as at that of an epoch, from the first time on."""
    saver = ModelCheckpoint("m-{step}-{val_f1:.1f}", save_freq=save_freq)
    with Run(LineSubject(), saver, verbose=0) as run:
        for _ in run.epochs(2):
            for _ in run.batches(range(1)):
                with run.validation():
                    run.log(f1=None, loss=1.0)
    assert [path.name for path in run.state.files] == ["m-1-nan.npz", "m-2-nan.npz"]


@pytest.mark.parametrize("filepath", ["run/a{{b}}", "run/{{x}}.npz", "a{{b}}/m.ckpt", "{{", "}}.bin"])
def test_a_directory_at_a_path_with_braces_is_refused(filepath: str) -> None:
    """A double brace in the template is one in the path."""
    path = Path(filepath.replace("{{", "{").replace("}}", "}"))
    (path if path.suffix else path.with_name(path.name + ".npz")).mkdir(parents=True)
    with pytest.raises(SettingsError, match=r"is a directory; name a file"):
        Run(LineSubject(), ModelCheckpoint(filepath, save_on=()))
