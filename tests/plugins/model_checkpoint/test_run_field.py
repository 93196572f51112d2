"""Tests of ``{run}`` in the path of checkpoints: parallel runs with one list of callbacks."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.core.distributed.threads import ThreadRanks, on_all
from trainbus import CheckpointError, Run, SettingsError, callbacks_from
from trainbus.checkpoints.discovery import scan
from trainbus.checkpoints.history import history_log
from trainbus.plugins import EarlyStopping, Journal, ModelCheckpoint, TensorBoard
from trainbus.settings import settings_file
from trainbus.testing import LineSubject

SAVER = ModelCheckpoint("runs/{run}/m-{epoch}", keep_last=2, save_last=True)


def trained(epochs: int, *callbacks: Any, **options: Any) -> Run:
    with Run(LineSubject(), list(callbacks or [SAVER]), verbose=0, **options) as run:
        for epoch in run.epochs(epochs):
            run.log(loss=float(epoch), val_loss=float(epoch))
    return run


def names(directory: str) -> list[str]:
    return sorted(path.name for path in Path(directory).glob("*.npz"))


@pytest.mark.parametrize(
    "run_id", ["trial-3", "lr=0.1,wd=1e-4", "a{b}", "{run}", "x[1]", "two words", "ü", "version_1"]
)
def test_each_run_has_its_directory(run_id: str, caplog: pytest.LogCaptureFixture) -> None:
    """From which it resumes with the same id, and in which retention counts its files only."""
    trained(3, run_id="other")
    run = trained(2, run_id=run_id)
    assert names(f"runs/{run_id}") == ["last.npz", "m-1.npz", "m-2.npz"]
    assert run.run_id == run_id
    run = trained(4, run_id=run_id, resume="auto")
    assert run.resumed is not None
    assert run.resumed.path.parent == Path("runs", run_id)
    assert [epoch for epoch, _ in run.state.epoch_metrics] == [0, 1, 2, 3]
    assert names(f"runs/{run_id}") == ["last.npz", "m-3.npz", "m-4.npz"]
    assert names("runs/other") == ["last.npz", "m-2.npz", "m-3.npz"]
    assert Path("runs", run_id, "journal.jsonl").exists()
    assert caplog.text == ""


@pytest.mark.parametrize(
    "filepath",
    [
        "runs/{run}", "{run}", "m-{run}", "runs/m-{run}-{epoch}", "{epoch}/{run}/m", "runs/{val_loss:.2f}-{run}/m",
        "s3://bucket/m-{run}",
    ],
)  # fmt: skip
def test_an_id_outside_of_the_directory_is_refused(filepath: str) -> None:
    """Since runs would share the directory that each of them locks; what the message says is accepted."""
    with pytest.raises(
        SettingsError, match=r"\{run\} must be part of the directory, since a directory belongs"
    ) as caught:
        ModelCheckpoint(filepath)
    advice = str(caught.value).partition("; write ")[2].strip("'")
    assert ModelCheckpoint(advice).filepath == advice


@pytest.mark.parametrize(
    "options",
    [
        {"filepath": "runs/{run:03d}/m"}, {"filepath": "{run:.2f}/m"}, {"filepath": "{run}/m", "keep": 2},
        {"filepath": "{run}/m", "keep_last": 2}, {"filepath": "{run}/m-{epoch}", "save_last": "last-{run}"},
        {"filepath": "{run}/m", "save_on": {"end": "{run}"}}, {"filepath": "{run!r}/m"}, {"filepath": "{run/m"},
    ],
)  # fmt: skip
def test_what_the_field_cannot_be_is_refused(options: dict[str, Any]) -> None:
    """A number, what tells files of one run apart, and a part of a name beside ``filepath``."""
    with pytest.raises(SettingsError):
        ModelCheckpoint(**options)


@pytest.mark.parametrize("filepath", ["{run}/m", "a/{run}/b/m-{epoch}", "a-{run}-b/m-{run}", "{{run}}/m", "~/{run}/m"])
def test_the_field_may_be_anywhere_in_the_directory(filepath: str) -> None:
    """Also twice; doubled braces are no field."""
    assert ModelCheckpoint(filepath).filepath.endswith(filepath.lstrip("~"))


def test_auto_names_the_runs_that_it_finds() -> None:
    """Only directories with checkpoints; nothing is trained."""
    for run_id in ("b", "a"):
        trained(1, run_id=run_id)
    Path("runs/empty").mkdir()
    with pytest.raises(SettingsError, match=r"resume='auto' needs the id of the run to continue; .*; found: 'a', 'b'$"):
        trained(2, resume="auto")
    assert trained(2, resume="auto", run_id="c").resumed is None


@pytest.mark.parametrize(
    ("filepath", "other"),
    [
        ("{run}/m-{epoch}", "a/x/m-1"),
        ("{run}/m-{epoch}", "a/best"),
        ("{run}/m-{epoch}", "a/m-best"),
        ("{run}/x/m", "a/m"),
        ("{run}/x/m", "a/y/m"),
        ("{run}/{epoch}/m", "a/m-1"),
        ("{run}/{epoch}/m", "a/version_1/m"),
        ("{run}/m.ckpt", "a/m"),
        ("trial-{run}/m-{epoch}", "trial-a/1/m-1"),
        ("{run}/v{{1}}-{epoch}", "a/v1-1"),
    ],
)
@pytest.mark.parametrize("listed", ["first", "last"])
def test_a_directory_without_checkpoints_of_the_template_is_no_run(filepath: str, other: str, listed: str) -> None:
    """Whatever else is in it, and whichever callback names the runs."""
    saver, log = ModelCheckpoint(filepath, save_on=()), TensorBoard("logs/{run}/x")
    trained(1, saver, log, run_id="q")
    trained(1, ModelCheckpoint(other, save_on=()))
    Path("logs/a/y").mkdir(parents=True)
    with pytest.raises(SettingsError, match=r"resume='auto' needs the id of the run to continue; .*; found: 'q'$"):
        trained(2, *((saver, log) if listed == "first" else (log, saver)), resume="auto")


@pytest.mark.parametrize("existing", ["replace", "version"])
def test_each_run_of_the_template_is_named(existing: Any) -> None:
    """Also one with versions, and one whose file "last" is left."""
    saver = ModelCheckpoint("{run}/m-{epoch}", existing=existing, save_last=True)
    for run_id in ("a{1}", "b", "b", "c"):
        trained(1, saver, run_id=run_id)
    Path("c/m-1.npz").unlink()
    with pytest.raises(SettingsError, match=r"; found: 'a\{1\}', 'b', 'c'$"):
        trained(2, saver, resume="auto")


def test_a_run_without_an_id_draws_one() -> None:
    """Two of them have two directories; one that resumes from a path is a run of its own."""
    first, second = trained(1), trained(1)
    assert names(f"runs/{first.run_id}") == names(f"runs/{second.run_id}") == ["last.npz", "m-1.npz"]
    branch = trained(2, resume=f"runs/{first.run_id}/m-1.npz")
    assert branch.run_id not in (first.run_id, second.run_id)
    assert names(f"runs/{branch.run_id}") == ["last.npz", "m-2.npz"]
    again = trained(3, resume="auto", run_id=branch.run_id)
    assert len(again.history["loss"]) == 3
    plain = ModelCheckpoint("plain/m-{epoch}")
    assert trained(3, plain, resume=f"runs/{first.run_id}/m-1.npz").run_id == first.run_id


def test_other_paths_have_the_field_too() -> None:
    """The directory of TensorBoard and the file of the journal; a list without checkpoints needs no id."""
    listed = [SAVER, TensorBoard("logs/{run}/x"), Journal("journals/{run}.jsonl")]
    trained(1, *listed, run_id="a")
    trained(1, *listed, run_id="b")
    assert {path.name for path in Path("logs").iterdir()} == {"a", "b"}
    assert all(any(Path("logs", each, "x", "train").iterdir()) for each in "ab")
    assert {path.name for path in Path("journals").glob("*.jsonl")} == {"a.jsonl", "b.jsonl"}
    run = trained(1, TensorBoard("alone/{run}"))
    assert [path.name for path in Path("alone").iterdir()] == [run.run_id]
    with pytest.raises(SettingsError, match=r"Journal: path='journals/\{run\}.jsonl': .*; found: 'a', 'b'$"):
        trained(2, ModelCheckpoint("m-{epoch}"), Journal("journals/{run}.jsonl"), resume="auto")


def test_settings_keep_the_field() -> None:
    """Those of the list, in TOML and as plain data; the callbacks of the run have the id."""
    text = settings_file.dumps([SAVER])
    Path("t.toml").write_text(text, encoding="utf-8")
    assert 'filepath = "runs/{run}/m-{epoch}"' in text
    assert settings_file.load("t.toml") == callbacks_from([SAVER.settings()]) == [SAVER]
    run = trained(1, "t.toml", run_id="toml")
    assert run.callbacks["ModelCheckpoint"].settings()["filepath"] == "runs/toml/m-{epoch}"
    assert names("runs/toml") == ["last.npz", "m-1.npz"]
    assert SAVER.filepath == "runs/{run}/m-{epoch}"


def test_versions_are_in_the_directory_of_the_run() -> None:
    """Of each id by itself."""
    saver = ModelCheckpoint("runs/{run}/m-{epoch}", existing="version")
    for run_id in ("a", "a", "b"):
        trained(1, saver, run_id=run_id)
    assert names("runs/a") == names("runs/a/version_1") == names("runs/b") == ["m-1.npz"]
    assert str(trained(2, saver, run_id="a", resume="auto").result.checkpoints[-1]) == "runs/a/version_1/m-2.npz"


def test_a_run_that_was_given_an_id_later_stays_over() -> None:
    """Also if it has saved nothing since, so that its newest checkpoint has the earlier id."""
    listed = [ModelCheckpoint("run/best", save_best_only=True), EarlyStopping(patience=9)]
    first = trained(2, *listed)
    second = trained(3, *listed, resume="auto", run_id="named")
    assert (second.run_id, second.state.continued_id) == ("named", first.run_id)
    for run_id in ("named", None):
        again = trained(3, *listed, resume="auto", run_id=run_id)
        assert again.state.stays_over
        assert len(again.history["loss"]) == 3


def test_a_history_in_a_store_is_whole_when_the_id_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its objects name those of the run before, which are kept."""
    monkeypatch.setattr(history_log, "SEGMENT", 100)
    saver = ModelCheckpoint("memory://ids/m-{epoch}", keep_last=1)
    for epochs, run_id in ((4, None), (8, "named"), (12, "other"), (16, None)):
        run = trained(epochs, saver, resume="auto", run_id=run_id)
    assert [epoch for epoch, _ in run.state.epoch_metrics] == list(range(16))
    assert all(not each.flaw for each in scan(run.result.checkpoints[-1].parent, verify=True))


class TrainedByThreads(LineSubject):
    """A line that several ranks train."""

    def __init__(self, ranks: ThreadRanks) -> None:
        super().__init__()
        self._ranks = ranks

    def ranks(self) -> ThreadRanks:
        return self._ranks


@pytest.mark.parametrize("given", ["trial-3", None])
def test_all_ranks_have_one_id(given: str | None) -> None:
    """A drawn one would differ, so it is refused before they meet; without the field, none is needed."""

    def play(ranks: ThreadRanks) -> str:
        subject = TrainedByThreads(ranks)
        if given is None:
            Run(subject, ModelCheckpoint("m-{epoch}"))
            with pytest.raises(SettingsError, match=r"all processes of a run need one id; give run_id='...', or set"):
                Run(subject, SAVER)
            return ""
        with Run(subject, SAVER, run_id=given) as run:
            for _ in run.epochs(2):
                run.log(loss=1.0)
        return run.run_id

    assert on_all(2, play) == [given or ""] * 2
    assert names("runs/trial-3") == (["last.npz", "m-1.npz", "m-2.npz"] if given else [])


@pytest.mark.exhaustive
def test_parallel_processes_do_not_disturb_each_other() -> None:
    """While a run is open, a process with another id trains and resumes; one with the same id is refused."""
    script = Path("script.py")
    script.write_text(
        "from trainbus import Run\n"
        "from trainbus.plugins import ModelCheckpoint, TensorBoard\n"
        "from trainbus.testing import LineSubject\n"
        "listed = [ModelCheckpoint('runs/{run}/m-{epoch}', keep_last=1), TensorBoard('logs/{run}')]\n"
        "for epochs in (1, 2):\n"
        "    with Run(LineSubject(), listed, resume='auto') as run:\n"
        "        for epoch in run.epochs(epochs):\n"
        "            run.log(loss=1.0)\n",
        encoding="utf-8",
    )

    def process(run_id: str) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "TRAINBUS_RUN_ID": run_id}
        return subprocess.run(
            [sys.executable, str(script)], env=environment, capture_output=True, text=True, check=False
        )

    with Run(LineSubject(), [SAVER, TensorBoard("logs/{run}")], run_id="a", verbose=0) as run:
        for epoch in run.epochs(2):
            run.log(loss=float(epoch))
            if epoch == 1:
                assert process("b").returncode == 0
                refused = process("a")
                assert refused.returncode != 0
                assert CheckpointError.__name__ in refused.stderr
    assert names("runs/a") == ["last.npz", "m-1.npz", "m-2.npz"]
    assert names("runs/b") == ["m-2.npz"]
