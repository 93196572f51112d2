"""Helpers for event files."""

from pathlib import Path


def tfevents(folder: str | Path) -> list[Path]:
    """All event files, in the order in which TensorBoard reads those of one directory."""
    return sorted(Path(folder).rglob("events.out.tfevents.*"))
