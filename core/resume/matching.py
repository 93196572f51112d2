"""Match the plugins of a checkpoint with those of the resumed run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from ..callback import Callback
from ..capabilities import HasStateDict
from .state import PluginState

WITHOUT_EFFECT = frozenset({"background", "verbose"})
"""Settings that change no decision."""


class PluginMatch(NamedTuple):
    """The plugins of a checkpoint that the resumed run has, too."""

    states: dict[str, PluginState]
    """Name of a plugin to its state, if it is still valid under the current settings."""
    unchanged: dict[str, str]
    """Name of a plugin in the checkpoint to its current name, if its settings are the same."""
    differences: list[str]
    """What has changed, one line each."""


def match_plugins(
    saved: Iterable[PluginState], plugins: Mapping[str, object], callbacks: Mapping[str, Callback]
) -> PluginMatch:
    """Find the saved state of each plugin: by equal settings first, then by name.

    Args:
        saved: The states of the plugins in the checkpoint.
        plugins: Name of each plugin of the resumed run to the plugin.
        callbacks: Name of a plugin to the callback that made it.
    """
    current = {name: settings_of(callbacks.get(name)) for name in plugins}
    unmatched = {each.name: each for each in saved}
    pairs: dict[str, PluginState] = {}
    for by_settings in (True, False):
        for name, (callback, settings) in current.items():
            if name in pairs:
                continue
            for other in unmatched.values():
                alike = _deciding(other.settings) == _deciding(settings) if by_settings else other.name == name
                if other.callback == callback and alike and (callback or other.name == name):
                    pairs[name] = unmatched.pop(other.name)
                    break
    match = PluginMatch({}, {}, [])
    for name, plugin in plugins.items():
        before, made_by = pairs.get(name), callbacks.get(name)
        if before is None:
            if made_by is not None or isinstance(plugin, HasStateDict):
                match.differences.append(f"{name} is new: it starts without a state")
            continue
        compatible = made_by is None or made_by.compatible_with(before.settings)
        if compatible:
            match.states[name] = before
        if changes := _changes(_deciding(before.settings), _deciding(current[name][1])):
            result = "it keeps its state" if compatible else "it starts without a state"
            match.differences.append(f"{name}: {', '.join(changes)}: {result}")
        else:
            match.unchanged[before.name] = name
    for name, before in unmatched.items():
        if before.callback or before.state_dict is not None:
            match.differences.append(f"{name} is no longer listed: its state is dropped")
    return match


def settings_of(callback: Callback | None) -> tuple[str, dict[str, Any]]:
    """Return the class and the settings of the callback that made a plugin; empty if none did."""
    settings = {} if callback is None else callback.settings()
    return settings.pop("callback", ""), settings


def _deciding(settings: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in settings.items() if name not in WITHOUT_EFFECT}


def _changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    names = dict.fromkeys([*before, *after])
    return [
        f"{name} {before.get(name)!r} -> {after.get(name)!r}" for name in names if before.get(name) != after.get(name)
    ]
