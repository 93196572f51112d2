"""The installed readers: which file has which format, and which files belong together."""

import tempfile
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainbus import SettingsError
from trainbus.replay import read, read_all
from trainbus.replay.readers import LogFile, Reader, Recording, Source
from trainbus.replay.readers.registry import installed_readers
from trainbus.settings import registry

from ..recorded import DATA
from ..streams import curve, write

SAMPLES = {
    "keras.csv": "CSV",
    "keras_history.json": "Keras History",
    "lightning_csv/version_0/metrics.csv": "CSV",
    "transformers/checkpoint-16/trainer_state.json": "Hugging Face trainer states",
}


def format_of(path: Path) -> str | None:
    """Return the title of the first reader that recognizes a file."""
    return next((each.title for each in installed_readers().readers if each.recognizes(LogFile(path))), None)


@pytest.mark.parametrize("name", SAMPLES)
def test_a_sample_of_a_library_has_its_format(name: str):
    """The first reader that recognizes it is its own, also under another name."""
    assert format_of(DATA / name) == SAMPLES[name]
    with tempfile.TemporaryDirectory() as folder:
        renamed = Path(folder, "renamed")
        renamed.write_bytes((DATA / name).read_bytes())
        assert format_of(renamed) == SAMPLES[name]


def test_event_files_are_recognized_by_their_names():
    """Their content is checked when they are read, so that damage is reported and not skipped."""
    for path in DATA.rglob("*tfevents*"):
        assert format_of(path) == "TensorBoard event files"
    assert format_of(DATA / "lightning/version_0/hparams.yaml") is None


@given(st.binary(max_size=100), st.sampled_from([b"", b"{", b"[", b"epoch,loss\n", b'{"log_history": [']))
def test_any_bytes_are_recognized_or_not(data: bytes, head: bytes):
    """Recognition never raises."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "log")
        path.write_bytes(head + data)
        assert all(each.recognizes(LogFile(path)) in (True, False) for each in installed_readers().readers)


def test_files_of_one_run_are_grouped():
    """Event files of a run and checkpoints of a trainer belong together; each other file is a run."""
    by_title = {each.title: each for each in installed_readers().readers}
    tables = [Path("a/log.csv"), Path("a/other.csv")]
    states = [Path(f"bert/checkpoint-{number}/trainer_state.json") for number in (9, 10)]
    events = [Path("a/train/x.tfevents"), Path("a/validation/y.tfevents")]

    assert by_title["CSV"].group(tables) == [[tables[0]], [tables[1]]]
    assert by_title["Hugging Face trainer states"].group(states) == [[states[1]]]
    assert by_title["TensorBoard event files"].group(events) == [events]


def test_steps_per_epoch_are_for_event_files_only(tmp_path: Path):
    """A format whose files contain epochs ignores the number."""
    (tmp_path / "log.csv").write_text("epoch,loss\n0,2\n1,1\n")
    write(tmp_path / "run/events.out.tfevents.1", curve("loss", range(4)))

    assert read(tmp_path / "log.csv", steps_per_epoch=2).epochs.tolist() == [0, 1]
    assert read(tmp_path / "run", steps_per_epoch=2).epochs.tolist() == [0, 1]
    assert read(tmp_path / "run").epochs.tolist() == [0, 1, 2, 3]


def _refuse(_: object) -> bool:
    raise RuntimeError("a reader\nwith a fault")


def _never(_: Source) -> list[Recording]:
    raise AssertionError


class TestDamagedReaders:
    """A reader of another package that is damaged does not keep the others from reading."""

    @pytest.fixture
    def log(self, tmp_path: Path) -> Path:
        path = tmp_path / "log.csv"
        path.write_text("epoch,loss\n0,2\n1,1\n")
        return path

    def install(self, monkeypatch: pytest.MonkeyPatch, loaded: object) -> None:
        class Point(EntryPoint):
            def load(self) -> object:
                if isinstance(loaded, Exception):
                    raise loaded
                return loaded

        points = registry.installed("readers")
        point = Point("broken", "package.module:READER", "trainbus.readers")
        monkeypatch.setattr(registry, "installed", lambda _: {**points, "broken": point})

    @pytest.mark.parametrize(
        ("loaded", "words"),
        [
            (
                ModuleNotFoundError("No module named 'package'"),
                "cannot be loaded: ModuleNotFoundError: No module",
            ),
            (Reader, "is a type, not a trainbus.replay.readers.Reader"),
            (Reader("Faulty logs", _refuse, _never), "the reader of Faulty logs failed: RuntimeError: a reader"),
            (Reader("Faulty logs", lambda _: True, _never, lambda _: 1 / 0, 99), None),
        ],
        ids=["import", "kind", "recognizes", "groups"],
    )
    def test_it_is_reported(self, monkeypatch: pytest.MonkeyPatch, log: Path, loaded: object, words: str | None):
        """In one line, beside the runs that were read."""
        self.install(monkeypatch, loaded)
        errors: list[SettingsError] = []
        assert [each.name for each in read_all(log, unread=errors.append)] == ["log.csv"]
        assert [words in str(each) for each in errors] == [True] if words else not errors
        assert all("\n" not in str(each) for each in errors)

    def test_its_files_are_reported(self, monkeypatch: pytest.MonkeyPatch, log: Path):
        """Other files are read."""
        self.install(monkeypatch, Reader("Faulty logs", lambda file: file.path.name == "x", _never))
        (log.parent / "x").write_text("?")
        errors: list[SettingsError] = []
        assert [each.name for each in read_all(log.parent, unread=errors.append)] == ["log.csv"]
        assert [str(each).endswith("the reader of Faulty logs failed: AssertionError: ") for each in errors] == [True]

    def test_two_packages_with_one_name_leave_the_built_in_readers(self, monkeypatch: pytest.MonkeyPatch, log: Path):
        """The error names both."""

        def both(_: str) -> None:
            raise SettingsError("a and b both define 'csv' in trainbus.readers; uninstall one of them")

        monkeypatch.setattr(registry, "installed", both)
        with pytest.warns(RuntimeWarning, match="a and b both define"):
            assert read(log).epochs.tolist() == [0, 1]
