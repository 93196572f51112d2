"""Reader of ``monitor.csv`` of Gymnasium's and stable-baselines3's monitors: a row for each episode.

The timestep of an episode is the sum of the lengths up to its end. Training on several environments at once writes a
file for each; together they record one run, in the order in which episodes ended.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ....errors import SettingsError
from ...records import Recording
from ..log_file import LogFile
from ..reader import Reader, Source
from ..recording import build_recording
from ..rows import Cells
from ..shared.lines import whole_lines
from ..shared.plain_data import as_mapping

_COLUMNS = ("r", "l", "t")
_WINDOW = 100
"""Episodes of the means that stable-baselines3 logs as ``rollout/ep_rew_mean`` and plots; with fewer, it plots none."""


class _Episode(NamedTuple):
    end: float
    reward: float
    length: float


def _recognizes(file: LogFile) -> bool:
    lines = file.lines[:2]
    return len(lines) == 2 and lines[0].startswith("#{") and {*_COLUMNS} <= {*lines[1].split(",")}


def _group(files: Sequence[Path]) -> Iterable[Sequence[Path]]:
    """Group the files of the environments of one training, such as ``0.monitor.csv`` and ``1.monitor.csv``."""
    runs: dict[Path, list[Path]] = {}
    for file in files:
        runs.setdefault(file.parent if file.name.split(".")[0].isdecimal() else file, []).append(file)
    return runs.values()


def _read(source: Source) -> list[Recording]:
    notes: list[str] = []
    episodes = sorted(episode for path in source.files for episode in _episodes(path, notes))
    if not episodes:
        raise SettingsError(f"{str(source.path)!r} has no complete episode")
    ends, rewards, lengths = np.array(episodes, np.float64).T
    rows = np.arange(len(episodes))
    columns = {
        "rollout/ep_rew_mean": Cells(rows[_WINDOW - 1 :], _means(rewards)),
        "rollout/ep_len_mean": Cells(rows[_WINDOW - 1 :], _means(lengths)),
        "episode_reward": Cells(rows, rewards),
        "episode_length": Cells(rows, lengths),
        "time": Cells(rows, ends),
    }
    if len(episodes) >= _WINDOW:
        notes.append(f"Each mean is that of the last {_WINDOW} episodes, as stable-baselines3 plots it.")
    name = source.name if len(source.files) == 1 else source.name_of(source.path.parent)
    return [build_recording(name, "monitor CSV", np.cumsum(lengths), columns, notes, unit="timestep")]


def _episodes(path: Path, notes: list[str]) -> Iterator[_Episode]:
    lines = whole_lines(path, notes)
    try:
        start = float(as_mapping(json.loads(next(lines, (1, "#"))[1][1:])).get("t_start", 0.0))
    except (TypeError, ValueError, RecursionError) as error:
        raise SettingsError(f"{str(path)!r}: the first line is not '#' and a JSON object: {error}") from None
    header = next(lines, (2, ""))[1].split(",")
    if missing := {*_COLUMNS} - {*header}:
        raise SettingsError(f"{str(path)!r} has no column {min(missing)!r}; a monitor writes {', '.join(_COLUMNS)}")
    reward, length, time = map(header.index, _COLUMNS)
    for number, line in lines:
        cells = line.split(",")
        try:
            yield _Episode(start + float(cells[time]), float(cells[reward]), float(cells[length]))
        except (ValueError, IndexError):
            words = "does not have the reward, length and time of an episode"
            raise SettingsError(f"{str(path)!r}: line {number:,} {words}: {line[:80]!r}") from None


def _means(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the mean of each window of values."""
    sums = np.concatenate([[0.0], np.cumsum(values)])
    return np.asarray((sums[_WINDOW:] - sums[:-_WINDOW]) / _WINDOW, np.float64)


READER: Final = Reader("stable-baselines3", _recognizes, _read, _group)
