"""The command ``trainbus checkpoints``: its table and its JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from ..checkpoints import CheckpointInfo
from ..errors import UnknownDirection
from ..metrics.direction import direction_of
from ..replay.report.terminal import printable
from ..storage.sizes import format_bytes

_HEADER = ("file", "epoch", "step", "size", "age", "state", "metrics")


def table(found: Sequence[CheckpointInfo], *, verified: bool) -> str:
    """Return a line for each checkpoint, the last one, and the best one by each metric of known direction."""
    now = datetime.now(UTC)
    rows = [_HEADER, *(_row(each, now, verified=verified) for each in found)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    sound = [each for each in found if not each.flaw]
    if sound:
        lines += ["", f"last: {printable(sound[0].path.name)}"]
    for metric, best in best_of(found).items():
        assert best.entry is not None
        lines.append(f"best {printable(metric)}: {printable(best.path.name)} ({best.entry.metrics[metric]:.5g})")
    return "\n".join(lines)


def as_json(found: Sequence[CheckpointInfo], *, verified: bool) -> str:
    """Return a JSON list of objects; "intact" is null for a checkpoint that was not verified."""
    best = best_of(found)
    last = next((each for each in found if not each.flaw), None)
    return json.dumps(
        [
            {
                "path": str(each.path),
                "intact": False if each.flaw else True if verified else None,
                "flaw": each.flaw,
                "last": each is last,
                "best": [metric for metric, holder in best.items() if holder is each],
                **(each.entry.model_dump(mode="json", exclude={"run_state"}) if each.entry else {}),
            }
            for each in found
        ],
        indent=1,
    )


def best_of(found: Sequence[CheckpointInfo]) -> dict[str, CheckpointInfo]:
    """Return the checkpoint with the best value of each metric whose direction is known by its name.

    Of equal values the earlier one is the best, as for ``ModelCheckpoint``.
    """
    best: dict[str, CheckpointInfo] = {}
    for each in sorted(
        (each for each in found if not each.flaw), key=lambda each: each.entry.step if each.entry else 0
    ):
        for metric, value in each.entry.metrics.items() if each.entry else ():
            try:
                sign = 1 if direction_of(metric) == "max" else -1
            except UnknownDirection:
                continue
            holder = best[metric].entry if metric in best else None
            if value - value == 0 and (holder is None or sign * value > sign * holder.metrics[metric]):
                best[metric] = each
    return best


def _row(found: CheckpointInfo, now: datetime, *, verified: bool) -> tuple[str, ...]:
    name, state = printable(found.path.name), printable(found.flaw) or ("intact" if verified else "not verified")
    content = found.entry
    if content is None:
        return (name, "?", "?", "?", "?", state, "")
    metrics = " ".join(f"{printable(metric)}={value:.5g}" for metric, value in content.metrics.items())
    counters = (str(content.epoch + 1), f"{content.step:,}")
    return (name, *counters, format_bytes(content.size), _age(now - content.written), state, metrics)


def _age(age: timedelta) -> str:
    seconds = max(age.total_seconds(), 0)
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s"
