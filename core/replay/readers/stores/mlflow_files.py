"""Reader of MLflow's file store: a directory for each run, and in its ``metrics`` a file for each metric."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Final

from ....errors import SettingsError
from ...records import Recording
from ..log_file import LogFile
from ..reader import Reader, Source
from ..recording import build_recording
from ..shared.lines import whole_lines
from ..shared.points import Points
from ..shared.settings_beside import MOST
from .mlflow_runs import run_name, without_system

_META = "meta.yaml"
_ENTRY = re.compile(r"(\d+) (\S+) (-?\d+)(?: |$)")
_KEY = re.compile(r"""^(run_id|run_uuid|name|lifecycle_stage): ['"]?(.*?)['"]?\s*$""", re.MULTILINE)
_LONGEST = 1 << 16  # bytes of a file of one parameter, or of the data of a run


def _run_directory(path: Path) -> Path | None:
    """Return the directory of the run to which a file of a metric belongs."""
    found = [each.parent for each in path.parents if each.name == "metrics" and (each.parent / _META).is_file()]
    return found[-1] if found and ({"run_id", "run_uuid"} & _data(found[-1]).keys()) else None


def _data(directory: Path) -> dict[str, str]:
    """Return what the data of a run or of an experiment say of it; a few lines that need no reader of YAML."""
    text = _beginning(directory / _META)
    return dict(_KEY.findall(text))


def _beginning(path: Path) -> str:
    """Return the text of a small file; none of a link, which MLflow never makes, and which may lead anywhere."""
    if path.is_symlink() or not path.is_file():
        return ""
    with path.open("rb") as file:
        return file.read(_LONGEST).decode("utf-8", "replace")


def _recognizes(file: LogFile) -> bool:
    return bool(file.lines) and bool(_ENTRY.match(file.lines[0])) and _run_directory(file.path) is not None


def _group(files: Sequence[Path]) -> Iterable[Sequence[Path]]:
    runs: dict[Path | None, list[Path]] = {}
    for file in files:
        runs.setdefault(_run_directory(file), []).append(file)
    return runs.values()


def _read(source: Source) -> list[Recording]:
    directory = _run_directory(source.path)
    if directory is None:
        raise SettingsError(f"{str(source.path)!r} is not in the directory 'metrics' of a run of MLflow")
    if _data(directory).get("lifecycle_stage") == "deleted":
        raise SettingsError(f"the run in {str(directory)!r} is deleted in MLflow; 'mlflow gc' removes it for good")
    points, notes = Points(), list[str]()
    for path in without_system(source.files, lambda path: _label(path, directory), notes):
        label = _label(path, directory)
        for number, line in whole_lines(path, notes):
            try:
                time, value, step = map(float, line.split(" ")[:3])  # others say on which data, and of which model
            except ValueError:
                words = "is not a time, a value and a step of MLflow"
                raise SettingsError(f"{str(path)!r}: line {number:,} {words}: {line[:80]!r}") from None
            points.add(label, step, value, time / 1000)
    steps, columns, more = points.joined()
    name = run_name(
        _data(directory.parent).get("name"),
        _beginning(directory / "tags" / "mlflow.runName").strip(),
        otherwise=source.name_of(directory),
    )
    found = build_recording(name, "MLflow file store", steps, columns, [*notes, *more], unit="step")
    return [replace(found, settings=_parameters(directory))]


def _label(path: Path, directory: Path) -> str:
    return path.relative_to(directory / "metrics").as_posix()


def _parameters(directory: Path) -> dict[str, object]:
    folder = directory / "params"
    given = folder.rglob("*") if folder.is_dir() and not folder.is_symlink() else iter(())
    files = sorted(each for each in islice(given, MOST) if each.is_file())
    return {each.relative_to(folder).as_posix(): _beginning(each) for each in files}


READER: Final = Reader("MLflow", _recognizes, _read, _group)
