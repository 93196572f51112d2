"""Tests of a run that finds the checkpoints of an earlier one where it saves."""

import logging
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainbus import Run, SettingsError
from trainbus.checkpoints import read
from trainbus.checkpoints.discovery import payloads_below
from trainbus.plugins import ModelCheckpoint
from trainbus.plugins.model_checkpoint.earlier_run import earlier_files, versioned
from trainbus.plugins.model_checkpoint.own_names import OwnNames
from trainbus.storage.local import LocalBackend
from trainbus.testing import LineSubject

from .parts import trained as parts_trained


def trained(epochs: int, *more: Any, resume: Any = None, filepath: str = "run/m-{epoch}", **options: Any) -> Run:
    with Run(LineSubject(), [ModelCheckpoint(filepath, **{"save_on": (), **options}), *more], resume=resume) as run:
        for epoch in run.epochs(epochs):
            run.log(loss=float(epoch), acc=float(epoch))
    return run


def files() -> set[str]:
    return {path.as_posix() for path in payloads_below(Path("run"))}


@pytest.mark.parametrize(
    ("filepath", "shown"),
    [
        ("run/m-{epoch}", "'run/' holds checkpoints of an earlier run, m-1.npz and 1 more,"),
        ("run/m", "'run/' holds checkpoints of an earlier run, m.npz,"),
        ("run/{epoch}/m", "'run/' holds checkpoints of an earlier run, 1/m.npz and 1 more,"),
        ("m-{epoch}", "'.' holds checkpoints of an earlier run, m-1.npz and 1 more,"),
    ],
)
def test_a_fresh_run_over_earlier_files_says_so(filepath: str, shown: str, caplog: pytest.LogCaptureFixture) -> None:
    """In one line before the training, which names both ways out; a resumed run says nothing."""
    trained(2, filepath=filepath)
    trained(3, filepath=filepath, resume="auto")
    assert "earlier run" not in caplog.text
    Path(filepath.format(epoch=3) + ".npz").unlink()
    (Path(filepath.format(epoch=3)).parent / f"trainbus.{Path(filepath.format(epoch=3)).name}.npz.json").unlink()
    if "{" not in filepath:
        trained(2, filepath=filepath)
        caplog.clear()
    trained(1, filepath=filepath)
    lines = [each.getMessage() for each in caplog.records if "earlier run" in each.getMessage()]
    assert len(lines) == 1
    assert lines[0].startswith(f"ModelCheckpoint: {shown} which this run may replace; to continue that run, give")
    assert "resume='auto'" in lines[0]
    assert "give another directory or existing='version'" in lines[0]


def test_two_callbacks_of_one_directory_say_it_once(caplog: pytest.LogCaptureFixture) -> None:
    """The first one does."""
    more = ModelCheckpoint("run/best", monitor="acc", save_best_only=True)
    trained(1, more)
    caplog.clear()
    trained(1, more)
    assert sum("earlier run" in each.getMessage() for each in caplog.records) == 1


@pytest.mark.parametrize("filepath", ["run/m-{epoch}", "run/x-{epoch}.ckpt", "run/{epoch}/m"])
def test_earlier_files_are_refused(filepath: str) -> None:
    """Before the training; nothing is changed, and a resumed run or another directory is welcome."""
    trained(2)
    before = {path: read(Path(path)).entry.digest for path in files()}
    line = r"existing='refuse': 'run/' holds checkpoints .*resume='(auto|run/m-2.npz)'.*'version'"
    with pytest.raises(SettingsError, match=line):
        trained(1, filepath=filepath, existing="refuse")
    assert {path: read(Path(path)).entry.digest for path in files()} == before
    assert trained(3, resume="auto", existing="refuse").resumed is not None
    trained(1, filepath="other/m", existing="refuse")


@pytest.mark.parametrize("filepath", ["run/m-{epoch}", "run/m", "run/{epoch}/m", "run/m-{epoch}.pth.tar"])
def test_each_version_has_its_directory(filepath: str) -> None:
    """Fresh runs leave earlier files as they are, and "auto" continues the newest version."""
    options: dict[str, Any] = {"filepath": filepath, "existing": "version", "save_last": True}
    trained(1, **options)
    first = files()
    assert not any("version" in name for name in first)
    trained(2, **options)
    trained(1, **options)
    before = files()
    assert {name.split("/")[1] for name in before if "version" in name} == {"version_1", "version_2"}
    run = trained(3, resume="auto", **options)
    assert run.resumed is not None
    assert "version_2" in str(run.resumed.path)
    assert run.resumed.epoch == 0
    assert {name for name in files() - before if "version_2" not in name} == set()
    resumed = trained(3, resume=next(name for name in before if "version_1" in name), **options)
    assert all("version_1" in str(path) for path in resumed.result.checkpoints)
    assert first <= files()


OTHERS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "the same names": ({}, {}),
    "another suffix of the user's own": ({"filepath": "run/m-{epoch}.ckpt"}, {"filepath": "run/m-{epoch}.bin"}),
    "a suffix in place of the usual one": ({}, {"filepath": "run/m-{epoch}.pth.tar"}),
    "the usual one in place of a suffix": ({"filepath": "run/m-{epoch}.ckpt"}, {}),
    "another name": ({}, {"filepath": "run/best"}),
    "another field": ({"filepath": "run/m-{loss}"}, {"filepath": "run/x-{epoch}"}),
    "directories in place of names": ({}, {"filepath": "run/{epoch}/m"}),
    "another suffix in directories": ({"filepath": "run/{epoch}/m.ckpt"}, {"filepath": "run/{epoch}/m.bin"}),
    "the same last": ({"save_last": True}, {"filepath": "run/x-{epoch}", "save_last": True}),
    "an absolute path": ({}, {"filepath": str(Path("run").absolute() / "x-{epoch}")}),
}


@pytest.mark.parametrize(("earlier", "options"), OTHERS.values(), ids=OTHERS)
def test_who_follows_the_advice_continues_the_run(
    earlier: dict[str, Any], options: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    """It names "auto" if that takes a file, and else the newest one."""
    if "filepath" in options and Path(options["filepath"]).is_absolute():
        options = {"filepath": str(Path("run").absolute() / "x-{epoch}")}
    trained(2, **earlier)
    with pytest.raises(SettingsError) as refused:
        trained(1, **options, existing="refuse")
    (advice,) = re.findall(r"to continue that run, give resume='([^']+)'", str(refused.value))
    shutil.copytree("run", "copy")
    caplog.clear()
    trained(1, **options)
    assert f"to continue that run, give resume={advice!r}" in caplog.text
    shutil.rmtree("run")
    shutil.copytree("copy", "run")

    run = trained(3, resume=advice, **options)

    assert run.resumed is not None
    assert run.resumed.epoch == 1


@pytest.mark.parametrize("hurt", ["m-*", "trainbus.m-*"])
@pytest.mark.parametrize("options", [{}, {"filepath": "run/x-{epoch}.ckpt"}])
def test_a_run_that_cannot_be_continued_is_not_proposed(
    hurt: str, options: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    """Its files are damaged."""
    trained(2)
    damage(hurt)
    caplog.clear()
    trained(1, **options)
    assert "holds checkpoints of an earlier run, m-1.npz and 1 more, " in caplog.text
    assert "to continue" not in caplog.text


BELOW: list[tuple[str, str, str]] = [
    ("run/{run}/m-{epoch}", "run/best", ""),
    ("run/{run}/m-{epoch}", "run/{epoch}/m", ""),
    ("run/{run}/m-{epoch}", "run/m-{epoch}.ckpt", ""),
    ("run/{epoch}/m", "run/m-{epoch}", ""),
    ("run/{epoch}/m", "run/e{epoch}/m", ""),
    ("run/{epoch}/deep/m", "run/{epoch}/m", ""),
    ("run/{epoch}/m", "run/{epoch}/x", "1/m.npz and 1 more, beside which this run saves under other names"),
    ("run/{epoch}/m", "run/{epoch0}/m", "1/m.npz and 1 more, which this run may replace"),
    ("run/m-{epoch}", "run/x-{epoch}", "m-1.npz and 1 more, beside which this run saves under other names"),
    ("run/m-{epoch}", "run/m-{epoch0}", "m-1.npz and 1 more, which this run may replace"),
    ("run/m-{epoch}", "run/{epoch}/m", "m-1.npz and 1 more, beside which this run saves under other names"),
]


@pytest.mark.parametrize(("earlier", "filepath", "said"), BELOW)
def test_files_in_directories_to_which_the_run_never_saves_are_left_out(
    earlier: str, filepath: str, said: str, caplog: pytest.LogCaptureFixture
) -> None:
    """What it may replace is named so, and so is what it only saves beside."""
    with Run(LineSubject(), ModelCheckpoint(earlier, save_on=()), run_id="abc") as run:
        for epoch in run.epochs(2):
            run.log(loss=float(epoch))
    before = {path: Path(path).read_bytes() for path in files()}
    caplog.clear()
    trained(2, filepath=filepath)

    held = f"ModelCheckpoint: 'run/' holds checkpoints of an earlier run, {said}; to continue that run, give"
    assert held in caplog.text if said else "earlier run" not in caplog.text
    replaced = [path for path, content in before.items() if Path(path).read_bytes() != content]
    assert not replaced or "may replace" in said
    version = versioned(ModelCheckpoint(filepath, existing="version"), None, LineSubject())
    assert "version_1" in version  # beside the files that the run has saved now


def damage(pattern: str) -> None:
    for path in Path("run").rglob(pattern):
        path.write_text("{}")


@pytest.mark.parametrize(
    ("hurt", "options", "why"),
    [
        ("m-*", {}, "none that the callbacks write is an intact one of a run; to continue it, restore"),
        (
            "trainbus.m-*",
            {},
            "none that the callbacks write is an intact one of a run; to continue it, restore",
        ),
        (
            "m-*",
            {"save_last": True},
            "none that the callbacks write is an intact one of a run; to continue it, restore",
        ),
        ("", {"filepath": "run/best-{epoch}"}, "of these names; to continue from one, give resume='run/m-2.npz'"),
        ("", {"filepath": "run/{epoch}/m"}, "of these names; to continue from one, give resume='run/m-2.npz'"),
        ("", {"filepath": "run/m-{epoch}.bin"}, "of these names; to continue from one, give resume='run/m-2.npz'"),
        ("m-*", {"filepath": "run/m"}, "no callback writes files of these names; to keep"),
    ],
)
@pytest.mark.parametrize("existing", ["replace", pytest.param("refuse", marks=pytest.mark.exhaustive)])
def test_a_run_for_which_auto_finds_nothing_says_why(
    hurt: str, options: dict[str, Any], why: str, existing: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """The option that the user gave is not proposed to them."""
    trained(2)
    damage(hurt) if hurt else None
    caplog.clear()
    said = ""
    try:
        assert trained(2, resume="auto", existing=existing, **options).resumed is None
    except SettingsError as error:
        said = str(error)
    lines = [line for line in [said, *caplog.messages] if "checkpoints of an earlier run" in line]
    assert len(lines) == 1
    assert "; resume='auto' takes none of them, since" in lines[0]
    assert why in lines[0]
    assert lines[0].endswith("; to keep its files, give another directory or existing='version'")
    assert "give resume='auto'" not in lines[0]


def test_a_version_whose_files_are_damaged_is_left_without_resume(caplog: pytest.LogCaptureFixture) -> None:
    """The user gave existing="version" already."""
    for _ in range(2):
        trained(2, existing="version")
    damage("version_1/m-*")
    caplog.clear()
    trained(2, existing="version", resume="auto")
    (line,) = (each for each in caplog.messages if "checkpoints of an earlier run" in each)
    assert line.endswith("to keep its files, give another directory, or leave resume='auto' out")
    before = files()
    trained(2, existing="version")
    assert files() - before == {"run/version_2/m-1.npz", "run/version_2/m-2.npz"}


@pytest.mark.parametrize("make", ["run/version_7", "run/version_3"])
def test_a_version_that_has_saved_nothing_is_not_shared(make: str) -> None:
    """Another run may be about to save there; "auto" continues the newest that has saved."""
    Path(make).mkdir(parents=True)
    number = int(make[-1])
    assert versioned(ModelCheckpoint("run/m"), None) == f"run/version_{number + 1}/m"
    assert versioned(ModelCheckpoint("run/m"), "auto") == f"run/version_{number + 1}/m"
    trained(1, filepath="run/version_2/m")
    assert versioned(ModelCheckpoint("run/m"), "auto") == "run/version_2/m"


@pytest.mark.parametrize(
    ("filepath", "resume", "expected"),
    [
        ("run/m-{epoch}", None, "run/m-{epoch}"),
        ("run/m-{epoch}", "auto", "run/m-{epoch}"),
        ("run/m-{epoch}", "elsewhere/m.pt", "run/m-{epoch}"),
        ("m", None, "m"),
        ("a{{b}}/{epoch}/m", "a{b}/version_4/1/m.pt", "a{{b}}/version_4/{epoch}/m"),
        ("run/m", "run/version_2", "run/version_2/m"),
        ("run/m", "run", "run/m"),
        ("run/m", "run/version_12/m.pt", "run/version_12/m"),
        ("run/m", "running/version_12/m.pt", "run/m"),
        ("memory://without-versions/run/m", None, "memory://without-versions/run/m"),
    ],
)
def test_the_template_of_a_version(filepath: str, resume: Any, expected: str) -> None:
    """The subdirectory is that of the path from which the run resumes."""
    if "://" in filepath:
        pytest.importorskip("fsspec")
    assert versioned(ModelCheckpoint(filepath), resume) == expected


FOREIGN: list[tuple[str, dict[str, Any]]] = [
    ("run/best.npz", {"filepath": "run/best", "save_best_only": True, "monitor": "loss"}),
    ("run/best.ckpt", {"filepath": "run/best.ckpt"}),
    ("run/best.pth.tar", {"filepath": "run/best.pth.tar"}),
    ("run/m-1.npz", {"keep_last": 1}),
    ("run/m-007.npz", {"filepath": "run/m-{epoch:03d}"}),
    ("run/last.npz", {"save_last": True}),
    ("run/last-1.npz", {"save_last": "last-{epoch}"}),
    ("run/final.npz", {"save_on": {"end": "final"}}),
    ("run/signal.npz", {"save_on": ("signal",)}),
    ("run/0.5-1.npz", {"filepath": "run/{loss}-{epoch}"}),
    ("run/3/m.npz", {"filepath": "run/{epoch}/m"}),
    ("run/a{b}-1.npz", {"filepath": "run/a{{b}}-{epoch}"}),
]
"""A file of the user, and options with which a run may save there."""


def mine(path: str) -> Path:
    """Write a file of the user, and return its path."""
    place = Path(path)
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text("mine")
    return place


@pytest.mark.parametrize(("path", "options"), FOREIGN)
def test_a_file_of_the_user_is_an_existing_one(
    path: str, options: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    """It is refused, left as it is by a version, and named in one line before a run that may replace it trains."""
    place = mine(path)
    with pytest.raises(
        SettingsError, match=r"'refuse': 'run/' holds [^ ]+ \(not saved by trainbus\); to keep .*version"
    ):
        trained(2, **options, existing="refuse")
    version = trained(2, **options, existing="version")
    assert all("version_1" in str(each) for each in version.result.checkpoints)
    assert place.read_text() == "mine"
    shutil.rmtree("run/version_1")
    caplog.clear()
    trained(0, **options)
    (line,) = (each.getMessage() for each in caplog.records if "not saved by trainbus" in each.getMessage())
    assert place.relative_to("run").as_posix() in line
    assert "give another directory or existing='version'" in line
    assert "resume='auto'" not in line


@pytest.mark.parametrize(
    "path",
    ["run/m-best.npz", "run/m-1.pt", "run/m-1.npz.bak", "run/sub/m-1.npz", "run/.m-1.npz", "run/last.txt", "m-1.npz"],
)
def test_a_file_that_the_run_would_not_replace_is_none(path: str, caplog: pytest.LogCaptureFixture) -> None:
    """It has another name, suffix or directory."""
    place = mine(path)
    run = trained(2, save_last=True, existing="refuse", save_on=("signal", "end"), keep_last=1)
    assert run.result.checkpoints
    assert place.read_text() == "mine"
    assert "not saved" not in caplog.text


@pytest.mark.parametrize("existing", ["replace", "refuse", "version"])
@pytest.mark.parametrize(
    ("path", "options"),
    [
        ("run/m-3.npz", {}),
        ("run/m-9.ckpt", {"filepath": "run/m-{epoch}.ckpt", "keep_last": 1}),
        ("run/last-3.npz", {"save_last": "last-{epoch}"}),
        ("run/end.npz", {"save_on": ("end",)}),
        ("run/3/m.npz", {"filepath": "run/{epoch}/m"}),
    ],
)
def test_a_resumed_run_names_files_of_the_user_before_it_replaces_them(
    path: str, options: dict[str, Any], existing: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """In one line; its own checkpoints are none."""
    trained(2, existing=existing, **{**options, "save_on": ()})
    place = mine(path)
    caplog.clear()
    assert trained(2, resume="auto", existing=existing, **{**options, "save_on": ()}).resumed is not None
    trained(2, resume="auto", existing=existing, **options)
    said = [each.getMessage() for each in caplog.records if "not saved by trainbus" in each.getMessage()]
    named = f"ModelCheckpoint: 'run/' holds {place.relative_to('run').as_posix()} (not saved by trainbus), which this"
    assert said
    assert said[-1] == f"{named} run may replace; to keep its files, move them"


def test_the_line_names_checkpoints_and_files_of_the_user(caplog: pytest.LogCaptureFixture) -> None:
    """Each kind with its first file, and the way to continue."""
    trained(2)
    mine("run/last.npz")
    mine("run/m-9.npz")
    trained(1, save_last=True)
    held = "checkpoints of an earlier run, m-1.npz and 1 more, and last.npz and 1 more (not saved by trainbus), which"
    assert held in caplog.text
    assert "give resume='auto'" in caplog.text


def test_files_of_an_earlier_save_are_not_taken_for_those_of_the_user(caplog: pytest.LogCaptureFixture) -> None:
    """A file of another model, and a link to the newest file, have no manifest of their own."""
    options: dict[str, Any] = {"filepath": "run/{part}-{epoch}", "save_last": "link"}
    parts_trained(2, **options)
    trained(1, save_last="link")
    caplog.clear()
    parts_trained(2, **options)
    trained(1, save_last="link")
    assert caplog.text.count("checkpoints of an earlier run") == 2
    assert "not saved by trainbus" not in caplog.text


def test_the_directory_of_a_fresh_run_is_listed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """And no manifest is read."""
    listed, read_files = list[Path](), list[Path]()
    below, read_file = LocalBackend.files_below, LocalBackend.read
    trained(3)
    monkeypatch.setattr(LocalBackend, "files_below", lambda self: (listed.append(self.path), below(self))[1])
    monkeypatch.setattr(LocalBackend, "read", lambda self: (read_files.append(self.path), read_file(self))[1])
    own = OwnNames([ModelCheckpoint("run/m-{epoch}")], LineSubject())
    assert earlier_files(Path("run"), own).checkpoints == ["m-1.npz", "m-2.npz", "m-3.npz"]
    assert (listed, read_files) == ([Path("run")], [])


@pytest.mark.parametrize("value", ["replaced", "Version", True, None, 1])
def test_another_value_is_refused(value: Any) -> None:
    """The message lists the right ones."""
    with pytest.raises(SettingsError, match=r"existing=.*give 'replace', 'refuse' or 'version'"):
        ModelCheckpoint("m", existing=value)


options = st.fixed_dictionaries(
    {
        "filepath": st.sampled_from(["run/m-{epoch}", "run/m-{epoch0}", "run/{epoch}/m", "run/x-{epoch}-{acc:.0f}"]),
        "keep": st.sampled_from([None, 1, 2]),
        "keep_last": st.sampled_from([None, 1, 2]),
        "save_best_only": st.booleans(),
        "save_last": st.sampled_from([False, True, "last-{epoch}", "link"]),
        "save_on": st.sampled_from([(), ("end",), {"end": "final-{epoch}"}]),
        "monitor": st.just("acc"),
    }
)


@settings(max_examples=12)
@given(options, options, st.integers(1, 4), st.integers(1, 4), st.sampled_from([None, "auto"]))
def test_retention_deletes_only_what_the_run_has_written_or_resumed_from(
    first: dict[str, Any], second: dict[str, Any], before: int, after: int, resume: str | None
) -> None:
    """Each file of an earlier run is still there with its bytes, or has been replaced, or is of the resumed run."""
    shutil.rmtree("run", ignore_errors=True)
    logging.getLogger("trainbus").setLevel(logging.ERROR)
    trained(1, filepath="run/{epoch}/other", save_last="zzz-{epoch}")
    foreign = files()
    trained(before, **first)
    earlier = {path: Path(path).read_bytes() for path in files()}
    run = trained(after, resume=resume, **second)
    logging.getLogger("trainbus").setLevel(logging.NOTSET)
    written = {each.path.as_posix() for each in run.state.checkpoints}
    own = written if run.resumed is None else written | (set(earlier) - foreign)
    for path, content in earlier.items():
        assert path in own or Path(path).read_bytes() == content
