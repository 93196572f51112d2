"""The decision that saved a checkpoint, and which of its actions a resumed run still carries out."""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from ..checkpoints import Checkpoint, read
from ..checkpoints.newest_link import leads_to, place_of
from ..decision import Action, Decision, Forget, Restore, Save, Stop
from ..decision.json_format import action_from_json, decision_from_json
from ..errors import CheckpointError
from ..storage.backend import existing
from ..storage.paths import StartDirectory, location
from .loaders.loader_resumption import Warn
from .locate import state_of
from .owned_files import OwnedFiles
from .plugins.matching import PluginMatch
from .state import CheckpointState

T = TypeVar("T")


class LastDecision:
    """The decision that saved a checkpoint, and the stops of the run before it.

    Args:
        checkpoint: The checkpoint.
        state: The state of the run in it.
        match: The plugins that its run and the resumed run have in common.
        owned: The files on which a callback may act.
        owned_by_plain: The files on which a plugin without a callback may act.
        plain: The names of plugins without a callback.
        start: Resolves paths.
        warn: Logs a warning.

    Raises:
        CheckpointError: An action is of an unknown kind, or has fields that its kind does not have.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        state: CheckpointState,
        match: PluginMatch,
        owned: OwnedFiles,
        owned_by_plain: OwnedFiles,
        plain: Collection[str],
        start: StartDirectory,
        warn: Warn,
    ) -> None:
        self._checkpoint, self._state, self._match = checkpoint, state, match
        self._owned, self._owned_by_plain, self._plain = owned, owned_by_plain, plain
        self._start, self._warn = start, warn
        self._saved = self._read(lambda: decision_from_json(state.decision))
        self._stops = self._read(lambda: [action_from_json(each) for each in state.stop_actions])

    def decision(self) -> Decision:
        """Return the decision without actions of plugins whose settings have changed."""
        return Decision(frozenset(each for each in self._own_actions if self._still_valid(each)))

    def earlier_stops(self) -> list[Stop]:
        """Return the stops of the run before this decision that are valid under the present settings."""
        return [each for each in self._stops if isinstance(each, Stop) and self._still_valid(each)]

    def remaining(self) -> tuple[Decision, tuple[Checkpoint, ...]]:
        """Return the remaining actions of the decision, and the checkpoints that it has written.

        Saves remain if their file was not written then. What follows the saves always remains: restores, unless they
        ended the run, and deletions, but of nothing that the decision has made.
        """
        decision = self.decision()
        saves = [action for action in decision if isinstance(action, Save)]
        written = {each.path: each for each in map(self._written_by, saves) if each is not None}
        left: set[Action] = {action for action in saves if location(action.path) not in written}
        left |= {each for each in decision if isinstance(each, Forget) and each.source not in decision.makes}
        if not self._state.at_end:
            left |= {each for each in decision if isinstance(each, Restore) and self._can_restore(each)}
        return Decision(frozenset(left)), tuple(written.values())

    @cached_property
    def _own_actions(self) -> Decision:
        """The actions without those that name a file that is not one of the run; each is reported."""
        return Decision(frozenset(each for each in self._saved if self._is_own(each)))

    def _is_own(self, action: Action) -> bool:
        owned = self._owned_by_plain if action.by in self._plain else self._owned
        refusal = owned.refusal_of(action, self._checkpoint.path, self._state.slots)
        if refusal:
            self._warn("%s", refusal)
        return not refusal

    def _read(self, read: Callable[[], T]) -> T:
        try:
            return read()
        except ValueError as error:
            raise CheckpointError(f"{str(self._checkpoint.path)!r} is not resumed from: {error}") from None

    def _still_valid(self, action: Action) -> bool:
        """Return whether the settings of the plugin that asked for an action are the same."""
        return action.by in self._match.unchanged or action.by not in {each.name for each in self._state.plugins}

    def _can_restore(self, action: Restore) -> bool:
        """Return whether what an action restores is still there; report it if not."""
        source = action.source
        there = source in self._state.slots or bool(existing([location(source)]))
        if not there:
            self._warn("%r is not restored again: it no longer exists", source)
        return there

    def _written_by(self, action: Save) -> Checkpoint | None:
        """Return the checkpoint that the action had written when this one was saved; None if there was none yet."""
        path, resumed = location(action.path), self._checkpoint
        for target, link in ((self._start.fixed(location(each)), link) for each, link in action.links):
            if isinstance(target, Path) and not leads_to(place_of(link, target), target):
                return None  # it is written again, and then linked
        if self._start.identity(path) == self._start.identity(resumed.path):
            return resumed.model_copy(update={"path": path})
        try:
            found = read(path)
        except CheckpointError:
            return None
        same = (found.epoch, found.step) == (resumed.epoch, resumed.step)
        same = same and _plugin_states(found) == _plugin_states(resumed)
        return found if same else None


def _plugin_states(checkpoint: Checkpoint) -> list[Any]:
    """Return what a checkpoint stores of the plugins, without paths, which depend on its directory."""
    found: list[Any] = []
    for each in state_of(checkpoint).plugins:
        settings = {name: value for name, value in each.settings.items() if name not in each.places}
        found.append((each.name, each.callback, settings, each.state_dict))
    return found
