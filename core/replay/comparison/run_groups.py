"""Groups of runs that are not independent of each other, such as those of one seed or in one folder."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from trainbus import SettingsError

from ...metrics.names import hint
from ..records import Recording
from .differences import shown

FOLDER: Final = "folder"
_SEEDS: Final = ("seed", "random_seed", "random_state", "seed_everything", "global_seed", "manual_seed")
"""What settings call the seed of a run."""


class RunGroups(NamedTuple):
    """The group of each run."""

    by: str
    """What the runs of a group have in common: "folder", "seed", or the name of a setting."""
    names: tuple[str, ...]
    """The name of the group of each run, in the order of the runs."""

    @property
    def words(self) -> str:
        """What the report calls one group.

        >>> RunGroups("lr", ("0.1", "0.2")).words
        'group of runs with the same lr'
        """
        return f"group of runs {'in one folder' if self.by == FOLDER else f'with the same {self.by}'}"


def group_runs(recordings: Sequence[Recording], by: str, called: str = "runs") -> RunGroups:
    """Return the groups of runs in one folder, of one seed, or with the same value of another setting.

    A run without the setting is a group of its own.

    Args:
        recordings: The runs.
        by: "folder", "seed", or the name of a setting; the last part of the name is enough where it is unique.
        called: What messages call this argument.

    Raises:
        SettingsError: No run has such a setting.

    >>> import numpy as np
    >>> runs = [Recording(f"{lr}/{seed}", np.arange(1), {}, settings={"optimizer/lr": lr, "seed": seed})
    ...         for lr in (0.1, 0.2) for seed in (1, 2)]
    >>> [group_runs(runs, by).names for by in ("folder", "seed", "lr")]
    [('0.1', '0.1', '0.2', '0.2'), ('1', '2', '1', '2'), ('0.1', '0.1', '0.2', '0.2')]
    """
    if by == FOLDER:
        return RunGroups(by, tuple(each.name.rpartition("/")[0] or "." for each in recordings))
    known = list(dict.fromkeys(name for each in recordings for name in each.settings))
    wanted = _SEEDS if by == "seed" else (by,)
    exact = [name for name in known if name in wanted]
    found = exact or [name for name in known if name.rpartition("/")[2] in wanted]
    if not found:
        listed = f"{hint(by, known)} settings: {', '.join(known[:20])}" if known else ": no file tells their settings"
        raise SettingsError(f"{called}={by!r}: no run has this setting{listed}; or give {FOLDER!r}")
    if len(found) > 1 and by != "seed":
        raise SettingsError(f"{called}={by!r} is the end of several settings: {', '.join(found)}; give one of them")
    return RunGroups(by, tuple(_value(each, found) for each in recordings))


def same_seed(recordings: Sequence[Recording]) -> RunGroups | None:
    """Return the groups of runs with the same seed, if there are several seeds and runs share one; else None."""
    if not any(name.rpartition("/")[2] in _SEEDS for each in recordings for name in each.settings):
        return None
    found = group_runs(recordings, "seed")
    return found if 1 < len(set(found.names)) < len(recordings) else None


def _value(recording: Recording, names: Sequence[str]) -> str:
    given = next((recording.settings[name] for name in names if name in recording.settings), None)
    return recording.name if given is None else shown(given)
