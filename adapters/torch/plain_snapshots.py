"""Snapshots in the state of a run as plain data, which ``torch.load(path, weights_only=True)`` reads."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from .training_state import Snapshot

_SNAPSHOTS = "snapshots"


def with_plain_snapshots(state: Mapping[str, Any]) -> dict[str, Any]:
    """Return what ``Run.state_dict`` returned, with the snapshots of a ``TorchSubject`` as mappings.

    >>> with_plain_snapshots({"snapshots": {"best": Snapshot({"w": 1}, {})}})
    {'snapshots': {'best': {'weights': {'w': 1}, 'extra': {}}}}
    """
    plain = {slot: each._asdict() if isinstance(each, Snapshot) else each for slot, each in state[_SNAPSHOTS].items()}
    return {**state, _SNAPSHOTS: plain}


def with_snapshots(state: Mapping[str, Any]) -> dict[str, Any]:
    """Return the state that ``with_plain_snapshots`` was given, for ``Run(resume=state)``."""
    made = {slot: Snapshot(**each) if _is_plain(each) else each for slot, each in state[_SNAPSHOTS].items()}
    return {**state, _SNAPSHOTS: made}


def _is_plain(snapshot: object) -> bool:
    return isinstance(snapshot, Mapping) and set(cast("Mapping[object, Any]", snapshot)) == set(Snapshot._fields)
