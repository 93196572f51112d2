"""Journals of trainbus: each run in one, as it logged its epochs."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from ... import journal
from ...errors import JournalError, SettingsError
from ..records import Recording
from .columns import Column, by_epoch

__all__ = ["PATTERNS", "read", "recognizes"]

PATTERNS = ("*.jsonl",)

_HEAD = 4096
_BEGIN = re.compile(rb'\s*\{[^\n]*"event"\s*:\s*"(begin|resumed)"')


def recognizes(path: Path) -> bool:
    """Whether the first line says that a run begins."""
    with path.open("rb") as file:
        return bool(_BEGIN.match(file.read(_HEAD)))


def read(files: Sequence[Path], name_of: Callable[[Path], str]) -> list[Recording]:
    """The runs in a journal.

    Raises:
        SettingsError: it is none, or is damaged.
        OSError: it cannot be read.
    """
    (path,) = files
    try:
        stories = journal.read(path)
    except JournalError as error:
        raise SettingsError(str(error)) from None
    told = [story for story in stories if story.epochs]
    name = name_of(path)
    names = [name] if len(told) == 1 else [f"{name}#{number}" for number in range(1, len(told) + 1)]
    return [_recording(*each) for each in zip(names, told, strict=True)]


def _recording(name: str, story: journal.RunJournal) -> Recording:
    lists: dict[str, tuple[list[int], list[float]]] = {}
    for event in story.epochs:
        for label, value in event.metrics.items():
            epochs, values = lists.setdefault(label, ([], []))
            epochs.append(event.epoch)
            values.append(value)
    found = {label: Column(np.array(epochs, np.int64), np.array(values)) for label, (epochs, values) in lists.items()}
    every, metrics = by_epoch(found)
    times = {event.epoch: event.time for event in story.epochs}
    ends = np.array([times[epoch] for epoch in every.tolist()])
    return Recording(name, every, metrics, ends, "trainbus journal")
