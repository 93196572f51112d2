"""What a checkpoint stores of the charts, as types: a manifest may hold anything."""

from __future__ import annotations

from typing import Annotated, Literal, NotRequired

from pydantic import Field, TypeAdapter
from typing_extensions import TypedDict

from trainbus.resume.checks.plugin_values import Flag, Number, Score, Step, Text

_Kind = Literal[
    "learning_rate_cut", "learning_rate_set", "kept_in_memory", "checkpoint", "restored", "forgotten", "stop"
]


class SavedTable(TypedDict):
    """What it stores of the decisions."""

    rows: list[tuple[Number, Text, Text, Text, Text]]
    earlier: Step
    counts: dict[_Kind, Step]


class SavedCharts(TypedDict):
    """What it stores of the event files and their series."""

    line: Annotated[str, Field(strict=True, pattern="^[0-9a-f]{8}$")]
    """Identifies the event files; it becomes a part of file names and of a pattern."""
    files: dict[Text, Step]
    introduced: Flag
    described: Flag
    final: NotRequired[dict[Text, Score]]
    step: Step | None
    counts_step: Step | None
    decisions: SavedTable


SAVED = TypeAdapter(SavedCharts)
