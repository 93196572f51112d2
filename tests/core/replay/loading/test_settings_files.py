"""Which settings file belongs to which run."""

from __future__ import annotations

import json
from pathlib import Path

from trainbus import Run
from trainbus.plugins import EarlyStopping, Journal
from trainbus.replay import read, read_all

LOG = "epoch,val_loss\n0,2.0\n1,1.0\n"


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_a_run_has_the_settings_beside_it_and_above_it_but_not_those_of_several_runs(tmp_path: Path) -> None:
    """Nearer ones take precedence; a file above the requested path is not read."""
    write(tmp_path / "args.json", json.dumps({"outside": 1}))
    runs = tmp_path / "runs"
    write(runs / "config.json", json.dumps({"of all": 1}))
    for name, lr in (("a", 0.1), ("b", 0.2)):
        write(runs / name / "logs" / "metrics.csv", LOG)
        write(runs / name / "args.json", json.dumps({"lr": lr, "optimizer": {"name": "sgd"}}))
    write(runs / "a" / "logs" / "hparams.json", json.dumps({"lr": 0.3}))

    first, second = read_all(runs)
    assert first.settings == {"lr": 0.3, "optimizer/name": "sgd"}
    assert second.settings == {"lr": 0.2, "optimizer/name": "sgd"}
    (alone,) = read_all(runs / "b")
    assert alone.settings == second.settings


def test_runs_in_one_directory_share_no_settings(tmp_path: Path) -> None:
    """A file named after one log belongs to that log."""
    for name in ("a", "b"):
        write(tmp_path / f"{name}.csv", LOG)
    write(tmp_path / "config.json", json.dumps({"lr": 0.1}))
    write(tmp_path / "b.yaml", "lr: 0.2\n")
    first, second = read_all(tmp_path)
    assert (first.settings, second.settings) == ({}, {"lr": 0.2})


def test_hydras_settings_are_found(tmp_path: Path) -> None:
    """They lie in a hidden directory beside the log."""
    write(tmp_path / "run" / "results.csv", LOG)
    write(tmp_path / "run" / ".hydra" / "config.yaml", "model:\n  depth: 3\n")
    assert read(tmp_path / "run").settings == {"model/depth": 3}


def test_a_journal_tells_its_hyperparameters_and_the_options_of_its_callbacks(tmp_path: Path) -> None:
    """Without any other file."""
    callbacks = [Journal(str(tmp_path / "journal.jsonl")), EarlyStopping(monitor="loss", patience=7)]
    with Run(callbacks=callbacks, hparams={"lr": 0.1, "model": {"depth": 3}}) as run:
        for epoch in run.epochs(2):
            run.log(loss=1.0 / (epoch + 1))
    found = read(tmp_path).settings
    assert (found["lr"], found["model/depth"], found["EarlyStopping/patience"]) == (0.1, 3, 7)


def test_a_damaged_file_is_noted_and_the_run_is_read(tmp_path: Path) -> None:
    """The numbers of the run do not depend on it."""
    write(tmp_path / "metrics.csv", LOG)
    write(tmp_path / "args.json", "{")
    found = read(tmp_path)
    assert len(found.epochs) == 2
    assert [note for note in found.notes if "args.json" in note]
