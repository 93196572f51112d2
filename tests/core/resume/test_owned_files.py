"""A run owns the checkpoints in the directories of its callbacks, and nothing else."""

from pathlib import Path

import pytest

from trainbus.checkpoints import commit
from trainbus.checkpoints.beside.files import BesideWriter
from trainbus.decision import Save
from trainbus.plugins import EarlyStopping, ModelCheckpoint
from trainbus.resume.owned_files import OwnedFiles
from trainbus.storage.paths import location
from trainbus.testing import LineSubject

INSIDE = ["run/m-1.npz", "run/a/b/m.npz", "./run/m-1.npz", "run/../run/m-1.npz", "run/to-run/m-1.npz"]
OUTSIDE = [
    "m-1.npz",
    "run",
    "run/",
    "run/..",
    "run/.",
    "runs/m.npz",
    "run/../m-1.npz",
    "run/out/m-1.npz",
    "/m.npz",
    "~/m.npz",
]
STRANGE = ["", "a\0b", "run/\0", "~nobody-here/m.npz", "s3:/run/m.npz", "zip://a::file://run/m.npz", "s3://run/m-1.npz"]


@pytest.fixture
def owned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> OwnedFiles:
    """Those of a checkpoint callback in "run", in which one link leads out of it and one back in."""
    monkeypatch.chdir(tmp_path)
    Path("run").mkdir()
    Path("elsewhere").mkdir()
    Path("run/out").symlink_to(Path("elsewhere").absolute())
    Path("run/to-run").symlink_to(Path("run").absolute())
    return OwnedFiles.of([ModelCheckpoint("run/m-{epoch}"), EarlyStopping()], LineSubject())


@pytest.mark.parametrize("path", INSIDE)
def test_paths_inside_are_owned(owned: OwnedFiles, path: str) -> None:
    assert owned.holds(path)
    assert owned.holds(Path(path).absolute(), follow=True)


@pytest.mark.parametrize("path", [*OUTSIDE, *STRANGE])
def test_paths_outside_are_not(owned: OwnedFiles, path: str) -> None:
    """Neither are texts that are no paths, and none of them raises."""
    assert not owned.holds(path)
    assert owned.flaw_of_saving(path) != ""
    assert owned.flaw_of_deleting(path) != ""
    assert owned.flaw_of_snapshot(path) != ""


@pytest.mark.parametrize(
    ("path", "owned_by_pattern"),
    [
        ("run/m-1.npz", True),
        ("run/m-27.npz", True),
        ("run/m-x1.npz", False),
        ("run/m-.npz", False),
        ("run/last.npz", True),
        ("run/other.npz", False),
        ("run/a/m-1.npz", False),
        ("run/m-1/x.npz", False),
        ("run/.m-1.npz", False),
    ],
)
def test_a_foreign_file_is_replaced_only_where_a_callback_would_write_and_never_deleted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str, owned_by_pattern: bool
) -> None:
    monkeypatch.chdir(tmp_path)
    owned = OwnedFiles.of([ModelCheckpoint("run/m-{epoch}", save_last=True)], LineSubject())
    assert owned.flaw_of_saving(path) == owned.flaw_of_deleting(path) == "", "nothing is there"

    Path(path).parent.mkdir(parents=True)
    Path(path).write_text("precious")

    assert (owned.flaw_of_saving(path) == "") == owned_by_pattern
    assert owned.flaw_of_deleting(path) == "it is a file, but not a checkpoint"
    commit(Path(path), lambda staged: staged.write_text("weights"), epoch=0, step=1)
    assert owned.flaw_of_saving(path) == owned.flaw_of_deleting(path) == ""


@pytest.mark.parametrize(
    "name", ["m.txt", "m", "journal.jsonl", ".trainbus-slot-1.npz", ".trainbus.lock", "trainbus.m-1.npz.json", "stop"]
)
def test_other_names_are_those_of_no_checkpoint(owned: OwnedFiles, name: str) -> None:
    assert (
        owned.flaw_of_saving(f"run/{name}")
        == owned.flaw_of_deleting(f"run/{name}")
        == "it is not the path of a checkpoint"
    )


@pytest.mark.parametrize(
    ("filepath", "path", "owned"),
    [
        ("run/best.bin", "run/best.ckpt", True),
        ("run/best.pth.tar", "run/best.ckpt", True),
        ("run/best", "run/best.pth.tar", True),
        ("run/m-{epoch}.bin", "run/m-12.ckpt", True),
        ("run/m-{val_loss:.2f}.bin", "run/m-0.25.model", True),
        ("run/{epoch}/m.bin", "run/3/m.ckpt", True),
        ("run/a{{b}}.bin", "run/a{b}.ckpt", True),
        ("run/m-{epoch}.bin", "run/last.ckpt", True),
        ("run/m-{epoch}.bin", "run/signal.ckpt", True),
        ("run/m-{epoch}.bin", "run/m-x.ckpt", False),
        ("run/m-{epoch}.bin", "run/sub/m-1.ckpt", False),
        ("run/m-{epoch}.bin", "m-1.ckpt", False),
        ("run/best.bin", "run/best.py", False),
        ("run/best.bin", "run/best.txt", False),
        ("run/best.bin", "run/best.jsonl", False),
        ("run/best.bin", "run/best", False),
        ("run/best.bin", "run/.best.ckpt", False),
        ("run/{val_loss}.bin", "run/.ckpt", False),
    ],
)
def test_a_checkpoint_with_another_suffix_of_the_users_own_is_one_of_the_run(
    filepath: str, path: str, owned: bool
) -> None:
    """It is deleted only if it is a checkpoint, and a file of the user at its path is never replaced."""
    files = OwnedFiles.of([ModelCheckpoint(filepath, save_last=True)], LineSubject())
    place = Path(path).absolute()
    place.parent.mkdir(parents=True, exist_ok=True)
    assert files.may_delete(place) == owned
    place.write_text("precious")
    assert files.flaw_of_saving(path) != ""
    assert files.flaw_of_deleting(path) != ""
    place.unlink()
    commit(place, lambda staged: staged.write_text("weights"), epoch=0, step=1)
    assert (files.flaw_of_deleting(path) == "") == owned
    assert (files.flaw_of_listing(path) == "") == owned


@pytest.mark.parametrize(
    "template", ["run[1]/m-{epoch}", "run*/a-{epoch}/m", "./r?n/{epoch}/{step}", "a/../run/m-{epoch}"]
)
def test_a_template_owns_what_it_makes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, template: str) -> None:
    """Characters of patterns in a path are no patterns, and a foreign file of that name may be replaced."""
    monkeypatch.chdir(tmp_path)
    Path("a").mkdir()
    made = Path(template.replace("{epoch}", "3").replace("{step}", "7") + ".npz")
    made.parent.mkdir(parents=True)
    made.write_text("precious")

    assert OwnedFiles.of([ModelCheckpoint(template)], LineSubject()).flaw_of_saving(made) == ""


@pytest.mark.parametrize("path", ["memory://run/m-1.npz", "memory://run/deep/m-1.npz"])
def test_a_store_is_a_directory_too(path: str) -> None:
    owned = OwnedFiles.of([ModelCheckpoint("memory://run/m-{epoch}")], LineSubject())

    assert owned.holds(path)
    assert owned.flaw_of_saving(path) == ""
    for other in ("memory://other/m-1.npz", "memory://run/../m-1.npz", "s3://run/m-1.npz", "run/m-1.npz"):
        assert not owned.holds(other)


def test_a_further_directory_adds_its_files(owned: OwnedFiles) -> None:
    """Unless it lies inside already, so that no message names it twice."""
    more = owned.and_directory(Path("elsewhere"))

    assert more.holds("run/out/m-1.npz")
    assert not owned.holds("run/out/m-1.npz")
    assert owned.and_directory(location("run/a")).directories == owned.directories
    assert OwnedFiles([]).flaw_of_saving("m.npz") == "no callback of this run owns a directory"


@pytest.mark.parametrize(
    ("link", "refused"),
    [("last.pt", False), ("../last.pt", True), ("/etc/last.pt", True), ("journal.jsonl", True), ("a/../../x.pt", True)],
)
def test_a_forged_link_is_not_made_outside_of_the_run(link: str, refused: bool) -> None:
    """A manifest cannot let a run replace a file elsewhere, or one that is no checkpoint, by a link."""
    run = Path("run").absolute()
    owned = OwnedFiles([run], [f"{run}/m-*.pt"], [".pt"])
    why = owned.refusal_of(Save(f"{run}/m-1.pt", link=link), run / "m-1.pt", ())
    assert bool(why) == refused


@pytest.mark.parametrize(
    ("name", "refused"),
    [
        ("m-2.pt", False),
        ("mine.pt", True),
        ("../m-2.pt", True),
        ("train.py", True),
        ("/etc/m-2.pt", True),
        ("a/m-2.pt", True),
    ],
)
def test_a_forged_save_of_several_models_replaces_nothing_else(name: str, refused: bool) -> None:
    """Each file is one that the run would write, or is not there yet."""
    run = Path("run").absolute()
    run.mkdir()
    Path("run/mine.pt").write_text("mine")
    owned = OwnedFiles([run], [f"{run}/m-*.pt"], [".pt"])
    action = Save(f"{run}/m-1.pt", parts={"a": "m-1.pt", "b": name})
    why = owned.refusal_of(action, run / "m-1.pt", ())
    assert bool(why) == refused
    assert not refused or f"its file '{run}/{name}'" in why


@pytest.mark.parametrize(("name", "refused"), [("m-2.pt", False), ("mine.pt", True), ("train.py", True)])
def test_a_save_whose_manifest_names_other_files_is_not_deleted(name: str, refused: bool) -> None:
    """A manifest cannot let a run delete a file that is no checkpoint of it."""
    run = Path("run").absolute()
    write = BesideWriter(lambda staged: staged.write_text("b"), ".pt", name)
    commit(run / "m-1.pt", lambda staged: staged.write_text("a"), beside=[write], epoch=1, step=1)
    owned = OwnedFiles([run], [f"{run}/m-*.pt"], [".pt"])
    assert owned.flaw_of_deleting(run / "m-1.pt") == (f"its file {name!r} is not one of the run" if refused else "")
