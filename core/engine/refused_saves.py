"""Plugins that refuse to save the present state, and the decisions without these saves."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol, runtime_checkable

from ..decision import Decision, Forget, Keep, Save


@runtime_checkable
class RefusesSaves(Protocol):
    """A plugin that can refuse to save the present state, such as one with NaN."""

    def refuse_save(self) -> Decision | None:
        """Return the decision to execute in place of a save; None if the present state may be saved.

        Called before a decision that saves or keeps the present state is executed. With several ranks, that of rank 0
        counts.
        """
        ...


def without_refused_saves(decision: Decision, plugins: Iterable[tuple[str, object]]) -> Decision:
    """Ask the plugins whether the state may be saved; return the decision to execute.

    If one refuses, the decision saves, keeps and deletes nothing, except what that plugin itself has asked for: a file
    that would be deleted after the save may be the last good one.

    Args:
        decision: The joint decision of all plugins.
        plugins: Each plugin, with its name.
    """
    for name, plugin in plugins:
        if isinstance(plugin, RefusesSaves) and any(
            _writes(action) and action.by != name for action in decision.actions
        ):
            instead = plugin.refuse_save()
            if instead is not None:
                rest = (each for each in decision.actions if each.by == name or not (_writes(each) or _deletes(each)))
                decision = Decision(frozenset(rest)) | instead.signed(name)
    return decision


def _writes(action: object) -> bool:
    return isinstance(action, (Save, Keep))


def _deletes(action: object) -> bool:
    return isinstance(action, Forget)
