"""Reader of dvclive's directory, which has a table for each metric."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final, NamedTuple

from ....errors import SettingsError
from ...records import Recording
from ..log_file import LogFile
from ..reader import Reader, Source
from ..recording import build_recording
from ..shared.lines import whole_lines
from ..shared.points import Points
from ..shared.settings_beside import read_settings

_STEP, _TIME = "step", "timestamp"


class _Place(NamedTuple):
    """Where a table is."""

    run: Path
    """The directory of the run."""
    metric: str
    """The name of the metric: the path of its table below the directory of all of them."""


def _place_of(path: Path) -> _Place:
    """Return where a table is: below ``plots/metrics``, or ``scalars`` of older versions, or in any directory."""
    tables, run = path.parent, path.parent
    for above in path.parents:
        if above.name == "metrics" and above.parent.name == "plots":
            tables, run = above, above.parents[1]
        elif above.name == "scalars":
            tables, run = above, above.parent
    return _Place(run, path.relative_to(tables).with_suffix("").as_posix())


def _recognizes(file: LogFile) -> bool:
    header = file.lines[0].split("\t") if file.lines else []
    return header in ([_STEP, file.path.stem], [_TIME, _STEP, file.path.stem])


def _group(files: Sequence[Path]) -> Iterable[Sequence[Path]]:
    runs: dict[Path, list[Path]] = {}
    for file in files:
        runs.setdefault(_place_of(file).run, []).append(file)
    return runs.values()


def _read(source: Source) -> list[Recording]:
    points, notes = Points(), list[str]()
    for path in source.files:
        _read_table(path, _place_of(path).metric, points, notes)
    steps, columns, more = points.joined()
    directory = _place_of(source.path).run
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
