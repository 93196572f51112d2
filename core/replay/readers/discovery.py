"""Discovery of the runs below a path, by the content of the files."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import NamedTuple, TypeVar

from ...errors import SettingsError
from ...limits import RUN_EPOCHS
from ...metrics.names import hint
from ...storage.file_kind import kind_of
from ..records import Recording
from .columns import limit_values
from .log_file import LogFile
from .reader import Reader, Source
from .refusal import explain

_ONE_PER_RUN = {
    *("evaluations.npz", "history.csv", "history.json", "journal.jsonl", "log.txt", "metrics.csv", "metrics.json"),
    *("monitor.csv", "progress.csv", "result.json", "results.csv", "scalars.json", "train_log.jsonl"),
    *("trainer_state.json", "trial.json"),
}
"""File names that occur once per run; the run is named after the directory."""
_NO_LOGS = {
    *(".bin", ".bmp", ".c", ".ckpt", ".cpp", ".cu", ".css", ".gif", ".gz", ".h", ".h5", ".html", ".ipynb", ".jpeg"),
    *(".jpg", ".js", ".keras", ".mp3", ".mp4", ".npy", ".onnx", ".pdf", ".pickle", ".pkl", ".png", ".pt", ".pth"),
    *(".py", ".pyc", ".safetensors", ".sh", ".so", ".svg", ".tar", ".tif", ".wav", ".webp", ".zip"),
}
"""Endings of files that hold no log; a directory may have a million of them, so they are not opened."""
_EXPLAINED = 3

_T = TypeVar("_T")


class RunFiles(NamedTuple):
    """Files that record one or more runs; only reading them shows which."""

    root: Path
    """The requested path."""
    reader: Reader
    files: tuple[Path, ...]

    def read(self, steps_per_epoch: int | None = None) -> list[Recording]:
        """Return the runs in the files.

        Args:
            steps_per_epoch: The number of steps in an epoch, used if the files do not contain epochs; None guesses.

        Raises:
            SettingsError: There is no run, or a file is damaged or cannot be read.
        """
        source = Source(self.files, self._name, steps_per_epoch)
        found = _ask(self.reader, self.files[0], lambda: self.reader.read(source))
        for each in found:
            if each.epochs.size > RUN_EPOCHS:
                rows = "epochs" if not each.by_steps else "rows"
                raise SettingsError(
                    f"the run {each.name!r} in {str(self.files[0])!r} has {each.epochs.size:,} {rows}; a recorded run "
                    f"has at most {RUN_EPOCHS:,}: if its rows are steps, give a file with a row for each epoch"
                )
        recordings = [limit_values(recording) for recording in found if recording.epochs.size]
        if not recordings:
            raise SettingsError(_no_epoch(self.files[0], found))
        return recordings

    def _name(self, path: Path) -> str:
        """Return the name of a run: its path relative to the requested one."""
        if path.name in _ONE_PER_RUN and path != self.root:
            path = path.parent
        if path.is_relative_to(self.root) and path != self.root:
            return path.relative_to(self.root).as_posix()
        return self.root.resolve().name


class FoundRuns(NamedTuple):
    """What is below a path."""

    runs: list[RunFiles]
    failures: list[SettingsError]
    """An error for each file that a reader failed on."""


def find_runs(path: Path, readers: Sequence[Reader]) -> FoundRuns:
    """Return the files of the runs at or below a path.

    Args:
        path: A file or a directory.
        readers: The readers, in the order in which they are asked.

    Raises:
        SettingsError: The path does not exist, or no reader recognizes a file.
    """
    try:
        kind = kind_of(path)
    except OSError as error:
        raise _unreadable(path, error) from None
    if not kind:
        siblings = [each.name for each in path.parent.iterdir()] if path.parent.is_dir() else []
        raise SettingsError(f"{str(path)!r} does not exist{hint(path.name, siblings, otherwise='')}")
    if kind not in ("file", "directory"):
        raise SettingsError(f"{str(path)!r} is a {kind}, neither a file nor a directory")
    failures: list[SettingsError] = []
    by_reader: list[list[Path]] = [[] for _ in readers]
    count, reasons = 0, list[str]()
    try:
        for file in [path] if path.is_file() else sorted(_files_below(path)):
            count += 1
            if file != path and file.suffix.lower() in _NO_LOGS:
                continue
            asked = LogFile(file, named=file == path)
            number = _first_that_recognizes(asked, readers, failures)
            if number is not None:
                by_reader[number].append(file)
            elif len(reasons) < _EXPLAINED:
                shown = path if file == path else file.relative_to(path)
                reasons.append(f"{str(shown)!r} {explain(asked)}")
    except OSError as error:
        raise _unreadable(Path(error.filename or path), error) from None
    runs: list[RunFiles] = []
    for reader, files in zip(readers, by_reader, strict=True):
        try:
            groups = [tuple(each) for each in _ask(reader, files[0], lambda: reader.group(files))] if files else []  # noqa: B023
        except SettingsError as error:
            failures.append(error)
            continue
        runs += [RunFiles(path, reader, group) for group in groups if group]
    if not runs and not failures:
        raise SettingsError(_nothing_found(path, kind, count, reasons, readers))
    return FoundRuns(runs, failures)


def _first_that_recognizes(file: LogFile, readers: Sequence[Reader], failures: list[SettingsError]) -> int | None:
    """Return the number of the first reader that recognizes a file; None if none does."""
    for number, reader in enumerate(readers):
        try:
            if _ask(reader, file.path, lambda: reader.recognizes(file)):  # noqa: B023
                return number
        except SettingsError as error:
            failures.append(error)
    return None


def _ask(reader: Reader, file: Path, question: Callable[[], _T]) -> _T:
    """Return what a reader answers about a file.

    Raises:
        SettingsError: The reader refuses the file, or fails: one that another package adds must not end the command.
    """
    try:
        return question()
    except SettingsError:
        raise
    except OSError as error:
        raise _unreadable(Path(error.filename or file), error) from None
    except Exception as error:
        why = f"{type(error).__name__}: {error}".splitlines()[0]
        raise SettingsError(f"{str(file)!r}: the reader of {reader.title} failed: {why}") from error


def _no_epoch(file: Path, found: Sequence[Recording]) -> str:
    """Return that the runs in a file have no epoch, with what was left out of them."""
    left_out = dict.fromkeys(note.rstrip(".") for each in found for note in each.notes)
    why = f": {'; '.join(islice(left_out, _EXPLAINED))}" if left_out else ""
    return f"{str(file)!r} has no completed epoch{why}"


def _nothing_found(path: Path, kind: str, count: int, reasons: Sequence[str], readers: Sequence[Reader]) -> str:
    titles = dict.fromkeys(each.title for each in readers)  # a tool may have several formats
    known = f"known formats: {', '.join(titles)}"
    if kind == "file":
        return f"{reasons[0]}; {known}"
    if not count:
        return f"no recorded run in {str(path)!r} or below, no file at all; {known}"
    looked = f"{count:,} files were" if count > 1 else "one file was"
    why = f": {'; '.join(reasons)}" if reasons else ", none of which is a log by its name"
    return f"no recorded run in {str(path)!r} or below; {looked} looked at{why}; {known}"


def _files_below(path: Path) -> Iterator[Path]:
    """Yield all files except those in hidden directories and virtual environments; do not follow links."""
    for directory, names, files in os.walk(path):
        if "pyvenv.cfg" in files and directory != str(path):
            names.clear()
            continue
        names[:] = [name for name in names if not name.startswith(".")]
        yield from (file for name in files if (file := Path(directory, name)).is_file())


def _unreadable(path: Path, error: OSError) -> SettingsError:
    return SettingsError(f"{str(path)!r} cannot be read: {error.strerror or error}")
