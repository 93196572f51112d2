"""Tests of the journal's file: complete lines only, and no other file is changed."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from trainbus import SettingsError
from trainbus.plugins import Journal

from .runs import JOURNAL, KILLED, SAVED, read_one, train


def test_a_resumed_run_cuts_off_an_incomplete_line(tmp_path: Path) -> None:
    """The file contains only complete lines of strict JSON after a resume."""
    train(KILLED[:3], SAVED)
    with JOURNAL.open("ab") as file:
        file.write(b'{"time":17')
    train(KILLED[:5], SAVED, resume="auto")

    assert all(json.loads(line) for line in JOURNAL.read_text().splitlines())
    assert [each.epoch for each in read_one().epochs] == [0, 1, 2, 3, 4]


def test_a_file_that_is_no_journal_is_not_changed() -> None:
    """Another file is rejected if the user named it, and left as it is if it is only in the directory of the run."""
    for content in ("a text without an end", '{"their": "own"}\n', "{"):
        Path("notes").write_text(content)
        with pytest.raises(SettingsError, match=r"path='notes'.*is not a journal of trainbus"):
            train([1.0], Journal("notes"))
        assert Path("notes").read_text() == content

    Path("run").mkdir(exist_ok=True)
    JOURNAL.write_text("mine\n")
    run = train([1.0], SAVED)
    assert JOURNAL.read_text() == "mine\n"
    assert [(each.plugin, each.hook) for each in run.failures] == [("Journal", "on_train_begin")]


def test_a_full_disk_ends_the_journal_but_not_the_run() -> None:
    """The lines that were written stay complete; the failures are reported, and the training continues."""
    script = """
import resource, signal
from pathlib import Path
from trainbus import Run
from trainbus.plugins import Journal

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
with Run(callbacks=Journal("a.jsonl")) as run:
    for epoch in run.epochs(100):
        run.log(loss=1.0)
print(len(run.history["loss"]), len(run.failures))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)

    assert done.stdout.split()[0] == "100"
    assert re.search(r"disabled, the training continues", done.stderr)
    assert 1 < len(read_one(Path("a.jsonl")).epochs) < 100
    assert Path("a.jsonl").read_bytes().endswith(b"}\n")
