"""Reader of ``evaluations.npz`` of stable-baselines3: the rewards of each episode of each evaluation."""

from __future__ import annotations

import zlib
from typing import Final
from zipfile import BadZipFile

import numpy as np

from ....errors import SettingsError
from ....storage.archive import check_archive, check_arrays
from ...records import Recording
from ..log_file import LogFile
from ..reader import Reader, Source
from ..recording import build_recording
from ..rows import Cells

_DAMAGES = (ValueError, KeyError, EOFError, OSError, RuntimeError, OverflowError, BadZipFile, zlib.error)
"""What the standard library and NumPy raise for archives of another form; encryption is a RuntimeError."""
_AXIS, _REWARDS = "timesteps", "results"
_NAMES = {_REWARDS: "eval/mean_reward", "ep_lengths": "eval/mean_ep_length", "successes": "eval/success_rate"}
"""The names under which stable-baselines3 itself logs the means over the episodes."""


def _recognizes(file: LogFile) -> bool:
    return file.head.startswith(b"PK\x03\x04") and b"timesteps.npy" in file.head and b"results.npy" in file.head


def _read(source: Source) -> list[Recording]:
    try:
        with source.path.open("rb") as file:
            check_archive(file)
            check_arrays(file)
            with np.load(file, allow_pickle=False) as arrays:
                found = {name: np.asarray(arrays[name], np.float64) for name in (_AXIS, *_NAMES) if name in arrays}
    except _DAMAGES as error:
        raise SettingsError(f"{str(source.path)!r} is not a file of evaluations, or is damaged: {error}") from None
    timesteps, rewards = found.get(_AXIS), found.get(_REWARDS)
    if timesteps is None or rewards is None or timesteps.ndim != 1:
        raise SettingsError(f"{str(source.path)!r} needs the arrays {_AXIS!r} and {_REWARDS!r} of stable-baselines3")
    columns: dict[str, Cells] = {}
    for label, name in _NAMES.items():
        if label in found:
            if found[label].shape[:1] != timesteps.shape or found[label].ndim != 2 or not found[label].size:
                shape = found[label].shape
                raise SettingsError(
                    f"{str(source.path)!r}: {label!r} has the shape {shape} for {len(timesteps):,} evaluations; "
                    "it needs a row for each, with a value for each episode"
                )
            columns[name] = Cells(np.arange(len(timesteps)), found[label].mean(axis=1))
    episodes = rewards.shape[1]
    notes = [f"Each value is the mean over the {episodes:,} episodes of an evaluation."]
    title = "stable-baselines3 evaluations"
    return [build_recording(source.name, title, timesteps, columns, notes, unit="timestep")]


READER: Final = Reader("stable-baselines3", _recognizes, _read)
