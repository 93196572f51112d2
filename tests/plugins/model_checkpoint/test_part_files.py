"""A file of each of several models: all files of a save are written, found, damaged and deleted as one."""

import json
import os
import signal
from collections.abc import Callable
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.core.storage.dying import dying_at, in_child, with_room_for
from trainbus import CheckpointError, Run, SettingsError
from trainbus.adapters.torch import TorchSubject
from trainbus.capabilities import PartWriters
from trainbus.checkpoints import entries_of, manifest_of, read, scan
from trainbus.checkpoints.discovery import payloads_in
from trainbus.checkpoints.manifest import BESIDE
from trainbus.cli import main
from trainbus.plugins import EarlyStopping, Journal, ModelCheckpoint
from trainbus.testing import LineSubject

from .parts import TwoModels, gan, numbers, trained

forking = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")


def beside(directory: str = "run") -> list[str]:
    """Return the internal files of saves in a directory."""
    return sorted(name for name in os.listdir(directory) if name.startswith(BESIDE))


@pytest.mark.parametrize("background", [False, True])
@pytest.mark.parametrize("suffix", [".pt", ".ckpt", ".pth.tar"])
def test_a_file_of_a_model_is_one_that_its_user_expects(suffix: str, background: bool) -> None:
    """It has the weights of one model as a file of that model alone would have them, and loads into it."""
    nets, run = gan(2, filepath=f"run/{{part}}-{{epoch}}{suffix}", background=background)
    for name, net in nets.items():
        path = f"run/{name}-2{suffix}"
        found = torch.load(path)
        alone = TorchSubject(net)
        alone.save("alone.pt", weights_only=False)
        assert found.keys() == torch.load("alone.pt").keys() - {"random"}
        assert list(found["model"]) == list(net.state_dict())
        assert found["model"]._metadata == net.state_dict()._metadata  # type: ignore[attr-defined]
        assert all(torch.equal(found["model"][key], value) for key, value in net.state_dict().items())
        before = {key: value.clone() for key, value in net.state_dict().items()}
        with torch.no_grad():
            for each in net.parameters():
                each.zero_()
        alone.load(path)
        assert all(torch.equal(before[key], value) for key, value in net.state_dict().items())
    assert [path.name for path in run.result.checkpoints] == [f"netD-1{suffix}", f"netD-2{suffix}"]


@pytest.mark.parametrize("suffix", [".pt", ".bin", ".safetensors"])
def test_a_file_of_weights_is_the_state_dict(suffix: str) -> None:
    """With save_weights_only=True, each file is what ``load_state_dict`` takes, and a run resumes from the weights."""
    options = {"filepath": f"run/{{part}}{suffix}", "save_weights_only": True}
    nets, _ = gan(2, **options)
    for name, net in nets.items():
        if suffix == ".safetensors":
            from safetensors.torch import load_file  # noqa: PLC0415 - an optional dependency

            found = load_file(f"run/{name}{suffix}")
        else:
            found = torch.load(f"run/{name}{suffix}")
        assert set(found) == set(net.state_dict())
        net.load_state_dict(found)
    resumed, run = gan(2, resume=f"run/netG{suffix}", **options)
    assert run.resumed is not None
    for name, net in nets.items():
        assert all(torch.equal(value, resumed[name].state_dict()[key]) for key, value in net.state_dict().items())


@pytest.mark.parametrize(
    "source", ["auto", "run", "run/netD-3.pt", "run/netG-3.pt", "run/netD-last.pt", "run/netG-last.pt"]
)
@pytest.mark.parametrize("last", [True, "link"])
def test_a_run_resumes_from_the_file_of_any_model(source: str, last: bool | str) -> None:
    """Optimizers, generators and history are those of the whole save."""
    options = {"keep_last": 2, "save_last": last}
    whole = gan(5)[1].history
    for path in Path("run").iterdir():
        path.unlink()
    gan(3, **options)
    nets, run = gan(5, resume=source, **options)
    assert run.resumed is not None
    assert run.resumed.epoch == 2
    assert run.history == whole
    names = {f"{name}-{what}.pt" for name in nets for what in (4, 5, "last")}
    assert {path.name for path in Path("run").glob("net*")} == names
    assert torch.load("run/netG-last.pt")["model"].keys() == torch.load("run/netG-5.pt")["model"].keys()
    assert len(beside()) == (2 if last == "link" else 3)
    if last == "link":
        assert {name: str(Path(f"run/{name}-last.pt").readlink()) for name in nets} == {n: f"{n}-5.pt" for n in nets}


options_of = st.fixed_dictionaries(
    {"save_best_only": st.booleans(), "save_last": st.sampled_from([False, True, "last-{epoch}", "link"])},
    optional={
        "keep": st.integers(1, 3),
        "keep_last": st.integers(1, 3),
        "save_on": st.sampled_from(["end", ("end", "exception")]),
        "save_freq": st.sampled_from(["epoch", "2 epochs"]),
        "background": st.booleans(),
    },
)
templates = st.sampled_from(
    ["{part}-{epoch}", "{epoch:02d}{part}", "m.{part}.{step}-{loss:.2f}", "{part}-{epoch0}", "{part}_{part}_{epoch}"]
)


@given(templates, options_of, st.lists(st.sampled_from([1.0, 2.0, 3.0, float("nan")]), min_size=1, max_size=6))
def test_the_files_are_those_of_one_model_for_each(
    tmp_path_factory: pytest.TempPathFactory, template: str, options: dict[str, Any], losses: list[float]
) -> None:
    """Whatever the name and the retention, each save of a run with one file is here a file of each model."""

    def saved(folder: Path, subject: LineSubject, name: str, options: dict[str, Any]) -> dict[str, str]:
        saver = ModelCheckpoint(str(folder / name), monitor="loss", **options)
        with Run(subject, saver, verbose=0) as run:
            for epoch in run.epochs(len(losses)):
                subject.slope, subject.offset = subject.slope + 1, subject.offset - 1
                run.step += 1
                run.log(loss=losses[epoch])
        found = {path.name: path.resolve().name for path in folder.glob("*.npz") if not path.name.startswith(".")}
        assert {name for each in payloads_in(folder) for name in names_of_save(each)} <= found.keys()
        return found

    def names_of_save(payload: Any) -> list[str]:
        return [payload.name, *(file.name for each in entries_of(payload) for file in each.files if file.name)]

    folder = tmp_path_factory.mktemp("parts")
    last = options["save_last"]
    several = {**options, "save_last": "{part}-" + last if isinstance(last, str) and last != "link" else last}
    both = saved(folder / "several", TwoModels(), template, several)
    expected: dict[str, str] = {}
    for part in TwoModels.names:
        name = template.replace("{part}", part)
        one = {**options, "save_last": f"{part}-" + ("last" if last is True else str(last))} if last else options
        one = {**one, "background": None, "save_last": "link" if last == "link" else one["save_last"]}
        on = options.get("save_on")
        moments = [on] if isinstance(on, str) else on or ["signal"]
        one["save_on"] = {moment: f"{part}-{moment}" for moment in moments}
        found = saved(folder / part, LineSubject(), name, one)
        expected |= {(f"{part}-{key}" if key == "last.npz" else key): value for key, value in found.items()}
    assert both == expected
    assert all(each.path.name.startswith(".") or not each.flaw for each in scan(folder / "several", verify=True))


@pytest.mark.parametrize("harm", ["missing", "shorter", "changed"])
@pytest.mark.parametrize("name", ["offset-3.npz", "slope-3.npz"])
def test_a_damaged_file_of_one_model_is_a_damaged_save(
    name: str, harm: str, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    """resume="auto" takes the save before and says so in one line; a path is refused; the command lists it."""
    trained(3)
    path = Path("run", name)
    content = path.read_bytes()
    if harm == "missing":
        path.unlink()
    else:
        path.write_bytes(content[:-1] + (b"?" if harm == "changed" else b""))
    other = "slope-3.npz" if "offset" in name else "offset-3.npz"
    assert main(["checkpoints", "run", "--verify"]) == 1
    assert capsys.readouterr().out.count("intact") == 2
    with pytest.raises(CheckpointError, match=r"damaged|missing|cannot be read"):
        trained(4, resume=f"run/{other}")
    caplog.clear()
    run = trained(4, resume="auto")
    assert run.resumed is not None
    assert run.resumed.epoch == 1
    skipped = [each for each in caplog.messages if each.startswith("skipped")]
    assert len(skipped) == 1
    assert name in skipped[0]
    assert numbers() == numbers_of_whole(4)


def numbers_of_whole(epochs: int) -> dict[str, float]:
    trained(epochs, filepath="whole/{part}-{epoch}")
    return numbers("whole")


@forking
@pytest.mark.parametrize(
    ("filepath", "first"),
    [("run/{part}", 30), pytest.param("run/{part}-{epoch}", 0, marks=pytest.mark.exhaustive)],
)
def test_a_training_that_is_killed_at_any_call_resumes_exactly(filepath: str, first: int) -> None:
    """After a death at each call to the file system, one save is complete, and the resumed run ends as a whole one."""
    options = {"filepath": filepath, "background": False, "save_last": True, "keep_last": None if first else 1}
    whole = trained(3, **options)
    expected = numbers()
    unnamed = 0
    for step in count(step=37 if first else 3, start=first):
        for path in Path("run").iterdir():
            path.unlink()
        died = dying_at(step, partial(trained, 3, **options))
        before = [each for each in scan(Path("run"), verify=True) if not each.flaw]
        assert before or not list(Path("run").glob("slope*.npz")), "at least one save stays complete"
        unnamed += len(beside()) > len(list(payloads_in(Path("run"))))
        run = trained(3, resume="auto", **options)
        assert run.history == whole.history
        assert numbers() == expected
        assert len(beside()) == 2
        if not died:
            break
    assert step > 100
    assert unnamed


def killed_before_renaming_to(name: str, work: Callable[[], object]) -> int:
    """Run ``work`` in a process that is killed right before it gives a file this name; return its exit code."""

    def run() -> None:
        real = os.replace

        def replace(source: Any, target: Any) -> None:
            if Path(target).name == name:
                os.kill(os.getpid(), signal.SIGKILL)
            real(source, target)

        os.replace = replace
        work()

    return in_child(run)


@forking
@pytest.mark.parametrize("source", ["auto", "run/slope.npz", "run/offset.npz"])
@pytest.mark.parametrize(("name", "epochs"), [("offset.npz", 1), ("slope.npz", 2)])
def test_a_process_killed_between_the_files_of_a_save_leaves_all_or_none(name: str, epochs: int, source: str) -> None:
    """Before the first file is renamed, the save before is complete; after it, the new one, which the run finishes."""
    trained(1, filepath="run/{part}", save_on=())
    old = numbers()
    work = partial(trained, 2, resume="auto", filepath="run/{part}", save_on=(), background=False)
    assert killed_before_renaming_to(name, work) == -signal.SIGKILL

    assert numbers()["slope.npz"] == old["slope.npz"]
    (info,) = scan(Path("run"), verify=True)
    assert info.entry is not None
    assert (info.flaw, info.entry.epoch) == ("", epochs - 1)
    run = trained(epochs, resume=source, filepath="run/{part}", save_on=())
    assert run.resumed is not None
    assert run.resumed.epoch == epochs - 1
    assert numbers() == numbers_of_save(epochs)
    assert len(beside()) == 1


def numbers_of_save(epochs: int) -> dict[str, float]:
    trained(epochs, filepath="other/{part}", save_on=())
    return numbers("other")


@forking
def test_a_full_disk_leaves_the_last_save() -> None:
    """Whichever file does not fit, all files of the save before it stay, and the next run goes on from there."""
    codes = set()
    for files in (5, 8, 11, 20):
        for path in Path("run").iterdir() if Path("run").exists() else ():
            path.unlink()
        trained(1, filepath="run/{part}", save_on=())
        one = numbers()
        codes.add(with_room_for(files, partial(again, 2)))
        assert all(not each.flaw for each in scan(Path("run"), verify=True))
        assert numbers() in (one, numbers_of_save(2))
    assert codes == {0, 1}, "some disks have room for the save"


def again(epochs: int) -> None:
    trained(epochs, resume="auto", filepath="run/{part}", save_on=(), background=False)


def test_fixed_names_existing_and_the_run_field() -> None:
    """Files of a mapping, of an exception and of a version have a model each; the id of the run is the directory's."""
    options: dict[str, Any] = {
        "save_on": {"end": "{part}-final", "exception": "x-{part}-{epoch}"},
        "save_last": "l{part}",
    }
    trained(1, **options)
    assert set(numbers()) == {
        f"{each}.npz" for part in TwoModels.names for each in (f"{part}-1", f"{part}-final", f"l{part}")
    }

    def fail(run: Run) -> None:
        raise RuntimeError("stopped")

    with pytest.raises(RuntimeError), Run(TwoModels(), ModelCheckpoint("x/{part}-{epoch}", **options)) as run:
        for _ in run.epochs(2):
            run.log(loss=1)
            fail(run)
    assert set(numbers("x")) == {"x-slope-1.npz", "x-offset-1.npz"}
    with pytest.raises(SettingsError, match="existing='refuse': 'run/' holds checkpoints of an earlier run"):
        trained(1, existing="refuse")
    trained(1, existing="version")
    assert set(numbers("run/version_1")) == {"slope-1.npz", "offset-1.npz"}
    with Run(TwoModels(), ModelCheckpoint("runs/{run}/{part}-{epoch}"), run_id="t1") as run:
        for _ in run.epochs(1):
            run.log(loss=1)
    assert set(numbers("runs/t1")) == {"slope-1.npz", "offset-1.npz"}


def test_the_best_weights_come_from_the_whole_save() -> None:
    """A snapshot of several models shares the training state of the save."""
    subject = TwoModels(2.2)  # it diverges, so that the first epoch is the best
    trained(3, EarlyStopping(monitor="loss", patience=9, restore_best_weights=True), subject=subject)
    assert subject.slope == trained(1, subject=TwoModels(2.2), filepath="one/{part}").subject.slope


def test_a_file_of_an_earlier_run_with_one_file_is_replaced() -> None:
    """Its manifest does not remain beside the file of the model that replaced it."""
    with Run(TwoModels(), ModelCheckpoint("run/slope", save_on=())) as run:
        for _ in run.epochs(1):
            run.log(loss=1)
    assert manifest_of(Path("run/slope.npz")).exists()
    trained(2, filepath="run/{part}", save_on=())
    assert not manifest_of(Path("run/slope.npz")).exists()
    assert [each.path.name for each in scan(Path("run"), verify=True) if not each.flaw] == ["offset.npz"]
    assert trained(3, resume="auto", filepath="run/{part}", save_on=()).resumed is not None


@pytest.mark.parametrize("name", ["train.py", "data.npz", "weights-1.npz"])
def test_a_forged_manifest_makes_a_run_replace_and_delete_nothing_else(name: str) -> None:
    """A name in a manifest counts only if the callbacks would write this file."""
    trained(2, keep_last=2)
    Path("run", name).write_text("mine")
    manifest = manifest_of(Path("run/offset-2.npz"))
    stored = f"{BESIDE}0123456789abcdef.npz"
    Path("run", stored).write_bytes(b"theirs")
    (entry,) = entries_of(Path("run/offset-2.npz"))
    forged = entry.files[-1].model_copy(
        update={"stored": stored, "name": name, "size": 6, "digest": _digest(b"theirs")}
    )
    from trainbus.checkpoints.manifest import write_manifest  # noqa: PLC0415

    write_manifest(Path("run/offset-2.npz"), [entry.model_copy(update={"files": (*entry.files, forged)})])
    assert manifest.exists()
    trained(5, resume="auto", keep_last=1)
    assert Path("run", name).read_text() == "mine"


def _digest(data: bytes) -> str:
    import hashlib  # noqa: PLC0415

    return hashlib.sha256(data).hexdigest()


def test_a_store_holds_the_files_of_all_models() -> None:
    """As on a disk: they are renamed after the commit, found from any file, and deleted together."""
    fsspec = pytest.importorskip("fsspec")
    files = fsspec.filesystem("memory")
    files.store.clear()
    options = {"filepath": "memory://parts/{part}-{epoch}", "keep_last": 1, "save_on": ()}
    trained(2, **options)
    run = trained(3, resume="memory://parts/slope-2.npz", **options)
    assert run.resumed is not None
    names = {str(name).rpartition("/")[2] for name in files.find("/parts")}
    assert {name for name in names if name.endswith("-3.npz")} == {"slope-3.npz", "offset-3.npz"}
    assert not {name for name in names if "-2" in name and "slope" in name}
    assert sum(name.startswith(BESIDE) for name in names) == 1
    files.rm("/parts/slope-3.npz")
    assert [bool(each.flaw) for each in scan_of("memory://parts")] == [True]


def scan_of(url: str) -> Any:
    from trainbus.storage.paths import location  # noqa: PLC0415

    return scan(location(url))


def test_what_is_printed_names_all_files(capsys: pytest.CaptureFixture[str]) -> None:
    """The line of the decision, the list of checkpoints, its JSON and the journal."""
    with Run(TwoModels(), [ModelCheckpoint("run/{part}-{epoch}", save_last="link"), Journal()], verbose=2) as run:
        for _ in run.epochs(1):
            run.log(loss=1)
    assert "saving model to run/offset-1.npz and slope-1.npz" in capsys.readouterr().out
    assert main(["checkpoints", "run"]) == 0
    assert "offset-1.npz, slope-1.npz" in capsys.readouterr().out
    assert main(["checkpoints", "run", "--json", "--verify"]) == 0
    (found,) = json.loads(capsys.readouterr().out)
    assert found["beside"] == ["slope-1.npz"]
    assert main(["explain", "run"]) == 0
    assert "save run/offset-1.npz" in capsys.readouterr().out
    assert read(Path("run/offset-1.npz")).files == (Path("run/offset-1.npz"), Path("run/slope-1.npz"))
    assert not run.failures


@pytest.mark.parametrize(
    ("before", "after"), [("run/{part}-{epoch}", "run/m-{epoch}"), ("run/m-{epoch}", "run/{part}-{epoch}")]
)
def test_a_run_goes_on_with_one_file_or_with_one_of_each_model(
    before: str, after: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The state is the same; the files of a save are deleted together, or stay together, which one line says."""
    whole = gan(4, filepath="whole/m-{epoch}")[1].history
    gan(2, filepath=before, keep_last=1, save_on=())
    source = "run/m-2.pt" if "part" in after else "run/netG-2.pt"
    run = gan(4, filepath=after, keep_last=1, save_on=(), resume=source)[1]
    assert run.history == whole
    names = {path.name for path in Path("run").glob("*.pt") if not path.name.startswith(".")}
    if "part" in after:
        assert names == {"netD-4.pt", "netG-4.pt"}
    else:
        assert names == {"m-4.pt", "netD-2.pt", "netG-2.pt"}
        assert "'run/netD-2.pt' is not kept or deleted: its file 'netG-2.pt' is not one of the run" in caplog.text


class FullAtSecond(TwoModels):
    """Two models, one of whose files cannot be written at the second save."""

    saves = 0
    full = "slope"

    def part_writers(self, *, weights_only: bool, background: bool) -> PartWriters:
        found = super().part_writers(weights_only=weights_only, background=background)
        self.saves += 1
        if self.saves != 2:
            return found

        def fail(path: Path) -> None:
            raise OSError(28, "No space left on device")

        return PartWriters(found.whole, {**found.parts, self.full: fail})


@pytest.mark.parametrize("background", [False, True])
@pytest.mark.parametrize("full", ["slope", "offset"])
def test_a_model_that_cannot_be_written_fails_the_whole_save(full: str, background: bool) -> None:
    """With on_error="warn" the run goes on; the save before stays, and the next one is written."""
    options = {"background": background, "keep_last": 1, "on_error": "warn"}
    for epochs, kept in (2, 1), (4, 4):
        subject = FullAtSecond()
        subject.full = full
        run = trained(epochs, subject=subject, filepath=f"run-{epochs}/{{part}}-{{epoch}}", **options)
        assert set(numbers(f"run-{epochs}")) == {f"offset-{kept}.npz", f"slope-{kept}.npz"}
        assert len(beside(f"run-{epochs}")) == 1
        assert "No space left on device" in str(run.failures[0].error)
    with pytest.raises(CheckpointError, match="No space left on device"):
        trained(3, subject=FullAtSecond(), background=background)
    assert set(numbers()) == {"offset-1.npz", "slope-1.npz"}
