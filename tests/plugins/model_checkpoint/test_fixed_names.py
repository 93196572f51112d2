"""Tests of the names of "last" and of the files that are written when the training ends."""

import os
import re
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.core.storage.dying import dying_at
from trainbus import MissingMetric, Run, SettingsError
from trainbus.callback import Callback
from trainbus.checkpoints.discovery import payloads_in, scan
from trainbus.plugins import ModelCheckpoint
from trainbus.testing import LineSubject


def trained(epochs: int, *, resume: Any = None, stop: str = "", fail: Any = None, **options: Any) -> Run:
    """Train with one callback; ``stop`` "signal" or "error" ends the training in its last epoch."""
    saver = ModelCheckpoint(options.pop("filepath", "run/m-{epoch}"), **options)
    with Run(LineSubject(), saver, resume=resume) as run:
        for epoch in run.epochs(epochs):
            run.log(loss=float(epoch))
            if stop == "signal" and epoch == epochs - 1:
                os.kill(os.getpid(), signal.SIGINT)
            if stop == "error" and epoch == epochs - 1:
                raise RuntimeError("broken")
    return run


def names() -> set[str]:
    return {path.name.removesuffix(".npz") for path in payloads_in(Path("run"))}


def test_epoch0_counts_from_0() -> None:
    """In the template and in the names beside it."""
    trained(3, filepath="run/m-{epoch0:03d}", save_last="last-{epoch0}", save_on=())
    assert names() == {"m-000", "m-001", "m-002", "last-2"}


@pytest.mark.parametrize(
    ("name", "written"),
    [
        (True, "last"),
        ("newest", "newest"),
        ("last-{epoch}", "last-3"),
        ("last-{epoch0}-{loss:.1f}", "last-2-2.0"),
        ("last-{step:04d}", "last-0000"),
        ("{{last}}-{epoch}", "{last}-3"),
        ("v1.5-{epoch}", "v1.5-3"),
    ],
)
def test_the_last_file_has_a_name_of_ones_own(name: Any, written: str) -> None:
    """The older one is deleted, also after a resume."""
    trained(2, save_last=name, save_on=(), keep_last=1)
    trained(3, save_last=name, save_on=(), keep_last=1, resume="auto")
    assert names() == {"m-3", written}


def test_the_last_file_is_kept_until_the_new_one_is_complete() -> None:
    """If it cannot be written, the older one stays and is deleted with the next one."""

    class Sometimes(LineSubject):
        def save(self, path: Path, *, weights_only: bool) -> str:
            if self.slope == 2 and ".trainbus-staged" in path.name:
                raise OSError("full")
            return super().save(path, weights_only=weights_only)

    line = Sometimes()
    saver = ModelCheckpoint("run/m", save_last="last-{epoch}", on_error="warn", save_on=())
    seen = []
    with Run(line, saver) as run:
        for epoch in run.epochs(4):
            seen.append(names())
            line.slope = line.slope * 0 + epoch
            run.log(loss=1.0)
    assert seen[1:] == [{"m", "last-1"}, {"m", "last-2"}, {"m", "last-2"}]
    assert names() == {"m", "last-4"}


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_death_at_any_call_leaves_one_last_file_in_the_end() -> None:
    """A run that was killed and resumed leaves the files of one that was not."""
    options: dict[str, Any] = {"save_last": "last-{epoch}", "keep_last": 1, "save_on": ()}
    for step in range(0, 10**6, 23):
        for path in Path("run").glob("*") if Path("run").exists() else ():
            path.unlink()
        for path in Path("run").glob(".*") if Path("run").exists() else ():
            path.unlink()
        died = dying_at(step, lambda: trained(3, **options) and None)
        trained(3, resume="auto", **options)
        assert names() == {"m-3", "last-3"}
        if not died:
            break
    assert step > 60


def test_the_ends_have_names_of_their_own() -> None:
    """Each moment has its file; that of a signal is removed when the resumed run ends."""
    options: dict[str, Any] = {
        "save_on": {"end": "final", "exception": "broken-{epoch}", "signal": "sig-{step}-{loss}"}
    }
    with pytest.raises(KeyboardInterrupt):
        trained(2, stop="signal", **options)
    assert names() == {"m-1", "m-2", "sig-0-1"}
    trained(3, resume="auto", **options)
    assert names() == {"m-1", "m-2", "m-3", "final"}
    with pytest.raises(RuntimeError, match="broken"):
        trained(2, filepath="run/x", stop="error", **options)
    assert "broken-2" in names()


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"save_last": "sub/last"}, "'sub/last': give a name without a directory"),
        ({"save_last": "last.pt"}, "'last.pt': leave .pt out"),
        ({"save_last": "m-{epoch}"}, "this would write 'run/m-{epoch}', which is filepath itself"),
        ({"save_last": "last-{epoch!r}"}, "a field is one name"),
        ({"save_last": ""}, "give True or False, not text"),
        ({"save_last": 1}, 'give True, False, "link", or a name'),
        ({"save_last": None}, 'give True, False, "link", or a name'),
        ({"save_on": {"ended": "x"}}, "unknown moment 'ended'; did you mean 'end'"),
        ({"save_on": {"end": 3}}, "'end': give the name of a file"),
        ({"save_on": {"end": "x", "signal": "x"}}, "which is also the file of 'end'; give one of them another name"),
        ({"save_last": "x", "save_on": {"end": "x"}}, "which is also the file of 'last'"),
        ({"save_on": {"end": "m-{epoch}"}}, "which is filepath itself"),
        ({"save_on": "ended"}, "ended"),
    ],
)
def test_wrong_names_are_refused(options: dict[str, Any], why: str) -> None:
    """The message has what is wrong, and the nearest right word."""
    with pytest.raises(SettingsError, match=re.escape(why)):
        ModelCheckpoint("run/m-{epoch}", **options)


def test_an_unknown_field_is_an_error_at_the_first_epoch() -> None:
    """Not when the file is needed."""
    with pytest.raises(MissingMetric, match=r"^ModelCheckpoint: .*'lsos' is not known; did you mean 'loss'"):
        trained(1, save_on={"signal": "sig-{lsos}"})


@pytest.mark.parametrize(
    "options", [{"save_last": "last-{epoch}"}, {"save_on": {"end": "final"}}, {"save_on": ("end",)}]
)
def test_the_callback_stays_a_value(options: dict[str, Any]) -> None:
    """It is compared and hashed, and has a form in JSON from which it is made again."""
    one: Callback = ModelCheckpoint("m-{epoch}", **options)
    settings = one.settings()
    assert ModelCheckpoint(**{name: value for name, value in settings.items() if name != "callback"}) == one
    assert hash(one) == hash(ModelCheckpoint("m-{epoch}", **options))
    same = ModelCheckpoint("m-{epoch}", save_on={"end": "end"}).effective_settings()
    assert same == ModelCheckpoint("m-{epoch}", save_on="end").effective_settings()


LINK = Path("run/last.npz")


@pytest.mark.parametrize("template", ["run/m-{epoch}", "run/{epoch}/m", "run/m"])
@pytest.mark.parametrize("options", [{}, {"keep_last": 1}, {"save_best_only": True, "monitor": "loss", "mode": "min"}])
def test_last_is_a_link_to_the_newest_file(template: str, options: dict[str, Any]) -> None:
    """A relative one, which moves with the directory; a run resumes from it, and no listing counts it twice."""
    options = {k: v for k, v in options.items() if k != "keep_last" or "{" in template}
    trained(2, filepath=template, save_last="link", save_on=(), **options)
    saved = 1 if "save_best_only" in options else 2
    newest = Path(f"{template}.npz".format(epoch=saved))
    assert LINK.is_symlink()
    assert not LINK.readlink().is_absolute()
    assert LINK.resolve() == newest.resolve()
    Path("run").rename("moved")
    assert Path("moved/last.npz").exists()
    run = trained(3, filepath=template.replace("run", "moved"), save_last="link", resume="moved/last.npz", **options)
    assert run.resumed is not None
    assert run.resumed.epoch == saved - 1
    found = scan(Path("moved"), verify=True)
    assert not any(each.flaw or each.path.name == "last.npz" for each in found)


def test_a_link_replaces_a_checkpoint_and_nothing_else() -> None:
    """A file "last" of an earlier run gives way with its manifest; one of somebody else stays, which is reported."""
    trained(1, save_last=True, save_on=())
    trained(2, save_last="link", save_on=())
    assert LINK.is_symlink()
    assert not Path("run/trainbus.last.npz.json").exists()
    trained(2, save_last=True, save_on=())
    assert not LINK.is_symlink()
    assert Path("run/m-2.npz").is_file()
    for path in (LINK, Path("run/trainbus.last.npz.json")):
        path.unlink()
    LINK.write_text("mine")
    run = trained(3, save_last="link", save_on=())
    assert LINK.read_text() == "mine"
    assert [str(each.error) for each in run.failures] == [
        f"{str(LINK.absolute())!r} is a file, but not a checkpoint, and was not replaced by a link"
    ]


def test_a_system_without_links_keeps_the_checkpoints(monkeypatch: pytest.MonkeyPatch) -> None:
    """One line says so and names the way out."""

    def refuse(*_: Any, **__: Any) -> None:
        raise OSError(1, "Operation not permitted")

    monkeypatch.setattr(os, "symlink", refuse)
    run = trained(3, save_last="link", save_on=())
    assert names() == {"m-1", "m-2", "m-3"}
    assert len(run.failures) == 1
    assert "cannot be a link here: Operation not permitted; write save_last=True" in str(run.failures[0].error)


def test_a_store_refuses_links_before_training() -> None:
    """Its objects have none."""
    pytest.importorskip("fsspec")
    with pytest.raises(SettingsError, match="a store has no links for save_last='link'; write save_last=True"):
        Run(LineSubject(), ModelCheckpoint("memory://bucket/m", save_last="link"))


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_death_at_any_call_leaves_a_link_to_the_newest_file_in_the_end() -> None:
    """At any time the link leads to a complete file; after a resume it leads to the newest one."""
    options: dict[str, Any] = {"save_last": "link", "keep_last": 1, "save_on": ()}
    for step in range(0, 10**6, 7):
        for path in list(Path("run").iterdir()) if Path("run").exists() else ():
            path.unlink()
        died = dying_at(step, lambda: trained(3, **options) and None)
        assert LINK.exists() or not LINK.is_symlink()
        trained(3, resume="auto", **options)
        assert LINK.resolve() == Path("run/m-3.npz").resolve()
        if not died:
            break
    assert step > 60
