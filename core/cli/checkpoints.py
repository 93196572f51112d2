"""The command ``trainbus checkpoints``: its table and its JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from math import isfinite
from typing import Any

from ..checkpoints import CheckpointInfo
from ..checkpoints.manifest import ManifestEntry
from ..errors import UnknownDirection
from ..metrics.direction import direction_of
from ..storage.paths import Location
from ..storage.sizes import format_bytes
from ..terminal import format_duration, printable

_HEADER = ("file", "epoch", "step", "size", "age", "state", "metrics")
_EPOCH = _HEADER.index("epoch")


def table(found: Sequence[CheckpointInfo], histories: Mapping[Location, str] | None) -> str:
    """Return a line per checkpoint, then the last checkpoint and the best one by each metric of known direction.

    If all are of loops by steps, which have no epochs, there is no column of epochs.

    Args:
        found: The checkpoints.
        histories: What is wrong with the histories that they name; None if nothing was verified.
    """
    now, verified = datetime.now(UTC), histories is not None
    rows = [_HEADER, *(_row(each, now, (histories or {}).get(each.path, ""), verified=verified) for each in found)]
    if all(each.entry is None or by_steps(each.entry) for each in found) and any(each.entry for each in found):
        rows = [(*row[:_EPOCH], *row[_EPOCH + 1 :]) for row in rows]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    last = _last_of(found)
    if last is not None:
        lines += ["", f"last: {printable(last.path.name)}"]
    for metric, (value, best) in best_of(found).items():
        lines.append(f"best {printable(metric)}: {printable(best.path.name)} ({value:.5g})")
    return "\n".join(lines)


def as_json(found: Sequence[CheckpointInfo], histories: Mapping[Location, str] | None) -> str:
    """Return a JSON list of objects; "intact" is null for a checkpoint that was not verified.

    One of a loop by steps has "validation" in place of "epoch": the number, counted from 0, of the validation after
    which, or before which, it was saved.
    """
    best = best_of(found)
    last = _last_of(found)
    return json.dumps(
        [
            {
                "path": str(each.path),
                "beside": [file.name for file in each.entry.files if file.name] if each.entry else [],
                "intact": False if each.flaw else None if histories is None else True,
                "flaw": each.flaw,
                "history": (histories or {}).get(each.path, ""),
                "last": each is last,
                "best": [metric for metric, (_, holder) in best.items() if holder is each],
                **(_content(each.entry) if each.entry else {}),
            }
            for each in found
        ],
        indent=1,
    )


def by_steps(entry: ManifestEntry) -> bool:
    """Return whether a checkpoint is of a loop by steps, which has no epochs."""
    return entry.run_state.get("validate_every") is not None


def _content(entry: ManifestEntry) -> dict[str, Any]:
    """Return the content of a checkpoint as plain data."""
    data = entry.model_dump(mode="json", exclude={"run_state", "files"})
    return {"validation" if by_steps(entry) and name == "epoch" else name: each for name, each in data.items()}


def _last_of(found: Sequence[CheckpointInfo]) -> CheckpointInfo | None:
    """Return the checkpoint from which a resume from the directory continues."""
    return next((each for each in found if not each.flaw and not (each.entry and each.entry.for_inspection)), None)


def best_of(found: Sequence[CheckpointInfo]) -> dict[str, tuple[float, CheckpointInfo]]:
    """Return the best value, with its checkpoint, of each metric whose name determines its direction.

    Among equal values, the earliest is the best, as in ``ModelCheckpoint``.
    """
    best: dict[str, tuple[float, CheckpointInfo]] = {}
    sound = [(each.entry, each) for each in found if each.entry is not None and not each.flaw]
    sound = [(entry, each) for entry, each in sound if not entry.for_inspection]
    for entry, each in sorted(sound, key=lambda pair: pair[0].step):
        for metric, value in entry.metrics.items():
            try:
                sign = 1 if direction_of(metric) == "max" else -1
            except UnknownDirection:
                continue
            if isfinite(value) and (metric not in best or sign * value > sign * best[metric][0]):
                best[metric] = value, each
    return best


def _row(found: CheckpointInfo, now: datetime, history: str, *, verified: bool) -> tuple[str, ...]:
    state = printable(found.flaw) or ("intact" if verified else "not verified")
    beside = [file.name for file in found.entry.files if file.name] if found.entry else []
    name = ", ".join(map(printable, [found.path.name, *beside]))
    state += f", but {printable(history)}" if history and not found.flaw else ""
    content = found.entry
    state += ", for inspection" if content is not None and content.for_inspection else ""
    if content is None:
        return (name, "?", "?", "?", "?", state, "")
    metrics = " ".join(f"{printable(metric)}={value:.5g}" for metric, value in content.metrics.items())
    counters = ("-" if by_steps(content) else str(content.epoch + 1), f"{content.step:,}")
    age = format_duration(max((now - content.written).total_seconds(), 0))
    return (name, *counters, format_bytes(content.total_size), age, state, metrics)
