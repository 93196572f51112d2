"""Load the states of plugins from a checkpoint."""

from __future__ import annotations

from collections.abc import Mapping

from ...capabilities import HasStateDict, has
from ...errors import CheckpointError, TrainbusError
from ...failures import Failures, add_plugin_note, is_observer
from ...limits import MESSAGE
from ...storage.paths import Location
from ..serialization import from_json_data
from ..state import PluginState


def load_states(
    states: Mapping[str, PluginState], plugins: Mapping[str, object], failures: Failures, path: Location
) -> None:
    """Load the state of each plugin that has one in the checkpoint.

    Args:
        states: Name of each plugin of the resumed run to its saved state, if it keeps it.
        plugins: Name of each plugin of the resumed run to the plugin.
        failures: Records the errors of observers.
        path: The path of the checkpoint, for messages.

    Raises:
        CheckpointError: A plugin that decides cannot load its state.
    """
    for name, saved in states.items():
        plugin = plugins[name]
        if saved.state_dict is None or not has(plugin, HasStateDict):
            continue
        try:
            plugin.load_state_dict(from_json_data(saved.state_dict))
        except Exception as error:
            if is_observer(plugin):
                failures.record_hook_error(name, "load_state_dict", error)
                continue
            add_plugin_note(error, "load_state_dict", name)
            if isinstance(error, TrainbusError):
                raise
            why = f"{type(error).__name__}: {' '.join(str(error).split())[:MESSAGE]}"
            raise CheckpointError(
                f"{str(path)!r} has a state of {name} that its load_state_dict refuses: {why}; "
                "resume from another checkpoint, or correct that method if it refuses all of them"
            ) from error
