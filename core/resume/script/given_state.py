"""The state of a run as plain data, for the checkpoint of a framework: ``Run.state_dict``, ``Run(resume=state)``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple, Self, cast

from pydantic import ValidationError

from ...checkpoints import Checkpoint, ManifestEntry
from ...checkpoints.history.history_reader import HistoryReference
from ...checkpoints.snapshots import SnapshotStore, references_in
from ...errors import SettingsError
from ...storage.paths import StartDirectory
from ..state import CheckpointState

FORMAT: Final = 1
"""Version of the states that are read and written here."""
_FORMAT_KEY, _ENTRY, _SNAPSHOTS = "trainbus", "entry", "snapshots"
PATH: Final = Path("the given state")
"""Stands for the path of a checkpoint, in messages too; relative paths in a state start in the working directory."""


class GivenState(NamedTuple):
    """A state that the user or a binding gives as ``resume``."""

    checkpoint: Checkpoint
    """The state in the form of a checkpoint, although no file holds it."""
    snapshots: Mapping[str, object]
    """The snapshots that plugins keep: name of each slot to what the subject's ``snapshot`` returned."""

    @classmethod
    def of(cls, state: Mapping[str, Any]) -> Self:
        """Return the state in what ``Run.state_dict`` returned.

        Raises:
            SettingsError: It is something else, or another version of trainbus wrote it.
        """
        if _FORMAT_KEY not in state:
            keys = ", ".join(map(repr, list(state)[:3]))
            raise SettingsError(
                f"resume= is a mapping with the keys {keys or 'of nothing'}; give what run.state_dict() returned"
            )
        if (version := state[_FORMAT_KEY]) != FORMAT:
            raise SettingsError(
                f"resume= is a state in the format {version!r}, and this version of trainbus reads {FORMAT}; resume "
                "with the version that wrote it"
            )
        try:
            entry = ManifestEntry.model_validate(state[_ENTRY])
            CheckpointState.model_validate(entry.run_state)
            snapshots = dict(cast("Mapping[str, object]", state.get(_SNAPSHOTS) or {}))
        except (ValidationError, KeyError, TypeError, ValueError) as error:
            why = str(error).splitlines()[0]
            raise SettingsError(f"resume= is a damaged state: {why}; give what run.state_dict() returned") from None
        return cls(Checkpoint(path=PATH, entry=entry), snapshots)

    @property
    def run_id(self) -> str:
        """The identifier of the run whose state it is."""
        return CheckpointState.model_validate(self.checkpoint.entry.run_state).run


def state_dict_of(
    state: CheckpointState,
    progress: Mapping[str, Any],
    history: HistoryReference,
    snapshots: SnapshotStore,
    start: StartDirectory,
) -> dict[str, Any]:
    """Return what ``Run.state_dict`` returns: plain JSON data, and the snapshots as the subject made them.

    Args:
        state: The state of the run.
        progress: Its epoch, its step, and the metrics of its last epoch.
        history: All that it has done.
        snapshots: Its snapshots.
        start: Where relative paths start.
    """
    kept = {slot: snapshots[slot] for slot in snapshots}
    slots = {slot: {"lost": slot not in kept} for slot in (*kept, *snapshots.lost())}
    stored = state.stored_at(PATH, start, slots)
    stored["history"] = history.model_dump(exclude_defaults=True)
    entry = ManifestEntry(digest="", size=0, run_state=stored, **progress)
    return {_FORMAT_KEY: FORMAT, _ENTRY: json.loads(entry.text), _SNAPSHOTS: kept}


def keep_given(slots: Mapping[str, Any], given: Mapping[str, object], snapshots: SnapshotStore) -> dict[str, str]:
    """Keep the snapshots of a given state.

    Args:
        slots: The references to them in the state.
        given: The snapshots that were given.
        snapshots: Keeps them.

    Returns:
        A mapping from lost snapshots to the reasons.
    """
    lost: dict[str, str] = {}
    known = references_in(slots)
    for slot in slots:
        if slot in given:
            snapshots.keep(slot, given[slot])
            continue
        gone = slot not in known or known[slot].lost
        lost[slot] = "it was lost before" if gone else "the state was given without its snapshots"
        snapshots.mark_lost(slot)
    return lost
