"""Check the state of a run in a checkpoint, before a resume changes anything."""

from __future__ import annotations

from collections.abc import Mapping

from ...capabilities import ChecksState, HasRunState, has
from ...decision.json_format import decision_from_json
from ...metrics.running_means import check_sums
from ..rng_state import check_rng_state
from ..run_history import checked_epoch
from ..serialization import from_json_data
from ..state import CheckpointState, PluginState, RankState


def check_state(
    state: CheckpointState, states: Mapping[str, PluginState], plugins: Mapping[str, object], subject: object = None
) -> None:
    """Parse all data of a state.

    Args:
        state: The state.
        states: Name of each plugin of the resumed run to its saved state, if it keeps it.
        plugins: Name of each plugin of the resumed run to the plugin.
        subject: What is trained; its generators and its own state are set to the saved ones, and back.

    Raises:
        ValueError: Some are damaged, or declare more than they hold; other errors are possible for other damage.
    """
    for epoch, metrics in state.known_epochs:
        checked_epoch(epoch)
        from_json_data(metrics)
    decision_from_json([*state.decision, *state.stop_actions])
    from_json_data([state.rank_state.model_dump(), *(each.state_dict for each in state.plugins)])
    _check_rank_state(state.rank_state, subject)
    for name, saved in states.items():
        plugin = plugins[name]
        if saved.state_dict is not None and has(plugin, ChecksState):
            try:
                plugin.check_state_dict(from_json_data(saved.state_dict))
            except ValueError as error:
                raise ValueError(f"the state of {name} is damaged: {error}") from error


def _check_rank_state(state: RankState, subject: object) -> None:
    check_sums(from_json_data(state.means))
    for generators in (state.rng, state.epoch_rng, state.loop_rng):
        check_rng_state(generators, subject)
    if state.subject is not None and has(subject, HasRunState):
        before = subject.run_state()
        try:
            subject.load_run_state(from_json_data(state.subject))
        finally:
            subject.load_run_state(before)
