"""The names in a directory in which a run saves."""

from collections.abc import Iterable

from trainbus.checkpoints.history.history_reader import PREFIX


def without_history(names: Iterable[str]) -> list[str]:
    """Return the names but for the file of the run's history, whose name is random."""
    return [name for name in names if not name.startswith(PREFIX)]
