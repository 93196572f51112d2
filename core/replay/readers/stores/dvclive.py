"""Reader of dvclive's directory: below ``plots/metrics`` a table for each metric."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from ....errors import SettingsError
from ...records import Recording
from ..log_file import LogFile
from ..reader import Reader, Source
from ..recording import build_recording
from ..shared.lines import whole_lines
from ..shared.points import Points
from ..shared.settings_beside import read_settings

_STEP, _TIME = "step", "timestamp"
_DEPTH = 2  # of the tables, below the directory: plots/metrics


def _metrics_directory(path: Path) -> Path | None:
    """Return the directory ``plots/metrics`` that holds a table."""
    return next((each for each in path.parents if each.name == "metrics" and each.parent.name == "plots"), None)


def _recognizes(file: LogFile) -> bool:
    header = file.lines[0].split("\t") if file.lines else []
    return _STEP in header[:2] and header[-1] == file.path.stem and _metrics_directory(file.path) is not None


def _group(files: Sequence[Path]) -> Iterable[Sequence[Path]]:
    runs: dict[Path | None, list[Path]] = {}
    for file in files:
        runs.setdefault(_metrics_directory(file), []).append(file)
    return runs.values()


def _read(source: Source) -> list[Recording]:
    folder = _metrics_directory(source.path)
    if folder is None:
        raise SettingsError(f"{str(source.path)!r} is not below 'plots/metrics' of a directory of dvclive")
    points, notes = Points(), list[str]()
    for path in source.files:
        _read_table(path, path.relative_to(folder).with_suffix("").as_posix(), points, notes)
    steps, columns, more = points.joined()
    directory = folder.parents[_DEPTH - 1]
    settings = read_settings(directory / "params.yaml", notes)
    found = build_recording(source.name_of(directory), "dvclive", steps, columns, [*notes, *more], unit="step")
    return [replace(found, settings=settings)]


def _read_table(path: Path, label: str, points: Points, notes: list[str]) -> None:
    lines = whole_lines(path, notes)
    header = next(lines, (1, _STEP))[1].split("\t")  # the first line may lack its end
    step, time = header.index(_STEP), header.index(_TIME) if _TIME in header else None
    for number, line in lines:
        try:
            cells = [float(cell) for _, cell in zip(header, line.split("\t"), strict=True)]
        except ValueError:
            words = f"does not have the numbers {', '.join(header)}"
            raise SettingsError(f"{str(path)!r}: line {number:,} {words}: {line[:80]!r}") from None
        points.add(label, cells[step], cells[-1], None if time is None else cells[time] / 1000)


READER: Final = Reader("dvclive", _recognizes, _read, _group)
