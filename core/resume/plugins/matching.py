"""Match the plugins of a checkpoint with those of the resumed run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from ...callback import Callback
from ...capabilities import HasStateDict
from ...errors import SettingsError
from ..state import PluginState


class PluginMatch(NamedTuple):
    """The plugins that the checkpoint and the resumed run have in common."""

    states: dict[str, PluginState]
    """Name of a plugin to its state, if it is still valid under the current settings."""
    unchanged: dict[str, str]
    """Name of a plugin in the checkpoint to its current name, if its settings have the same effect."""
    differences: list[str]
    """One line for each change."""


def match_plugins(
    saved: Iterable[PluginState],
    plugins: Mapping[str, object],
    callbacks: Mapping[str, Callback],
    subject: object = None,
) -> PluginMatch:
    """Find the saved state of each plugin: by settings with the same effect first, then by name.

    Args:
        saved: The states of the plugins in the checkpoint.
        plugins: Name of each plugin of the resumed run to the plugin.
        callbacks: Name of a plugin to the callback that made it.
        subject: What is trained.
    """
    current = {name: settings_of(callbacks.get(name)) for name in plugins}
    unmatched = {each.name: each for each in saved}
    pairs: dict[str, PluginState] = {}
    changes: dict[str, list[str]] = {}
    for by_settings in (True, False):
        for name, (kind, settings) in current.items():
            if name in pairs:
                continue
            for other in unmatched.values():
                if other.callback != kind or (not (by_settings and kind) and other.name != name):
                    continue
                changed = _changes(callbacks.get(name), other.settings, settings, subject)
                if not by_settings or not changed:
                    pairs[name], changes[name] = unmatched.pop(other.name), changed
                    break
    match = PluginMatch({}, {}, [])
    for name, plugin in plugins.items():
        before, made_by = pairs.get(name), callbacks.get(name)
        if before is None:
            if made_by is not None or isinstance(plugin, HasStateDict):
                match.differences.append(f"{name} is new: it starts without a state")
            continue
        changed = changes[name]
        compatible = (
            made_by is None
            or not changed
            or made_by.compatible_with(_effective(type(made_by), before.settings, subject), subject)
        )
        if compatible:
            match.states[name] = before
        if changed:
            result = "it keeps its state" if compatible else "it starts without a state"
            match.differences.append(f"{name}: {', '.join(changed)}: {result}")
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


def _changes(
    callback: Callback | None, before: Mapping[str, Any], after: Mapping[str, Any], subject: object
) -> list[str]:
    """Describe each setting whose effect has changed."""
    if callback is None or before == after:
        return []
    earlier, present = _effective(type(callback), before, subject), callback.effective_settings(subject)
    return [
        f"{name} {before.get(name)!r} -> {after.get(name)!r}"
        for name in dict.fromkeys([*before, *after])
        if before.get(name) != after.get(name) and earlier.get(name) != present.get(name)
    ]


def _effective(kind: type[Callback], settings: Mapping[str, Any], subject: object) -> Mapping[str, Any]:
    """Return the effective settings of a callback of this class; the settings unchanged if it cannot be created."""
    try:
        return kind.from_settings(settings).effective_settings(subject)
    except SettingsError:  # its class has other options now
        return settings
