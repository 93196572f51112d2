"""Collect the state of a run that a checkpoint stores."""

from __future__ import annotations

from collections.abc import Callable, Collection, Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

from ..callback import Callback
from ..capabilities import HasLearningRate, HasRunState, HasStateDict, has
from ..checkpoints.history.history_log import HistoryLog
from ..decision import REQUEST, Decision, Restore
from ..decision.json_format import action_to_json, decision_to_json
from ..errors import SettingsError
from ..failures import Failures, add_plugin_note, is_observer
from ..metrics.scalars import fetch_together, to_scalars
from ..resume.end_record import EndRecord
from ..resume.loaders.dataloader_state import batch_size_of, capture_loader
from ..resume.plugins.matching import settings_of
from ..resume.rng_state import get_rng_state
from ..resume.run_history import RunHistory, storable
from ..resume.script.options import options_of
from ..resume.serialization import compress_log, to_json_data
from ..resume.state import CheckpointState, PluginState, Position, RankState, RateChange, UncutRate
from ..storage.paths import Location
from .run_state import RunState

T = TypeVar("T")


class StateCollector:
    """Collects the state with which a resumed run makes the same decisions as this one.

    Args:
        state: The plain data of the run.
        plugins: Name of each plugin to the plugin.
        callbacks: Name of a plugin to the callback that made it.
        failures: Records what observers raise.
        world_size: The number of processes that train the subject together.
        rate_changes: Returns the changes of learning rates of which it is still checked whether they act.
        undone_rates: The rates of which it was reported that a change was undone.
        uncut_rates: Returns the rates that the run has changed, with the product of the cuts of each.
        event_counts: Returns how often each event of the loop was emitted.
    """

    def __init__(
        self,
        state: RunState,
        plugins: Mapping[str, object],
        callbacks: Mapping[str, Callback],
        failures: Failures,
        world_size: int = 1,
        rate_changes: Callable[[], list[RateChange]] = list,
        undone_rates: Collection[str] = (),
        uncut_rates: Callable[[], dict[str, UncutRate]] = dict,
        event_counts: Callable[[], dict[str, int]] = dict,
    ) -> None:
        self.state = state
        self.enabled = False
        """Whether a callback writes files, so that a checkpoint may be saved."""
        self.epoch_rng: Any = None
        """The states of the generators when the epoch began; None until they are stored."""
        self.loop_rng: Any = None
        """The states of the generators before the current loop; None if the epoch has had no loop yet."""
        self.loop_loader: Any = None
        self._plugins = plugins
        self._settings = {name: settings_of(callbacks.get(name)) for name in plugins}
        self._path_settings = {name: each.path_settings() for name, each in callbacks.items()}
        saving = [each for each in callbacks.values() if each.checkpoint_patterns()]
        self._saves_may_fail = bool(saving) and all(getattr(each, "on_error", "raise") == "warn" for each in saving)
        self._failures = failures
        self._world_size = world_size
        self._rate_changes, self._undone_rates, self._uncut_rates = rate_changes, undone_rates, uncut_rates
        self._event_counts = event_counts
        self._loaders: list[Any] = []
        self._held: CheckpointState | None = None
        self.history = RunHistory(state, failures.record)
        """What checkpoints name of the run's past."""

    def check_plugins(self) -> None:
        """Refuse plugins whose state no checkpoint can store, or report them if no save needs to succeed.

        Raises:
            SettingsError: The ``state_dict`` of a plugin holds something other than plain JSON data.
        """
        for name, plugin in self._plugins.items():
            if has(plugin, HasStateDict) and not is_observer(plugin):
                try:
                    to_json_data(plugin.state_dict(), arrays=False)
                except Exception as error:
                    if self._saves_may_fail:
                        self._failures.record(name, error, "state_dict() fails, so no checkpoint can be saved")
                        continue
                    if isinstance(error, TypeError):
                        raise SettingsError(f"{name}: state_dict(): {error}") from None
                    add_plugin_note(error, "state_dict", name)
                    raise

    @contextmanager
    def holding(self, stored: CheckpointState) -> Generator[None]:
        """Let checkpoints store this state in place of the present one: what an earlier process had begun to save.

        The rest of a decision is then saved with the state with which its first file was saved, so that a run continues
        in the same way from each of its files.

        Args:
            stored: The state in the checkpoint from which the run was resumed, as this rank needs it.
        """
        self._held = stored
        try:
            yield
        finally:
            self._held = None

    def leave_epoch(self) -> None:
        """Drop the states in which the last epoch and its loops began."""
        self.epoch_rng = self.loop_rng = None

    def enter_epoch(self) -> None:
        """Store the states of the generators in which an epoch begins."""
        self.epoch_rng = get_rng_state(self.state.subject) if self.enabled and self.state.draws_again else None

    def start_loop(self, number: int, loader: Iterable[T]) -> None:
        """Store the loader of a loop over the batches of the epoch.

        Args:
            number: The number of the loop in its epoch, counted from 0.
            loader: What the loop iterates over.
        """
        self._loaders[number : number + 1] = [loader]

    def release_loaders(self) -> None:
        """Drop the loaders at the end of the run, so that their workers end when the script drops them, too."""
        self.loop_loader, self._loaders = None, []

    def enter_loop(self, loader: Iterable[T]) -> None:
        """Store the state in which a loop begins, before it draws the order of its batches."""
        if self.enabled:
            self.loop_rng = get_rng_state(self.state.subject)
            self.loop_loader = capture_loader(loader)

    def progress(self) -> dict[str, Any]:
        """Return the epoch, the step, and the metrics of the last epoch that are single numbers."""
        state = self.state
        return {"epoch": state.epoch, "step": state.step, "metrics": to_scalars(state.metrics)}

    def rank_state(self) -> RankState:
        """Return the state of this rank."""
        if self._held is not None:
            return self._held.rank_state
        state, subject = self.state, self.state.subject
        mid_epoch = state.position.mid_epoch
        rng = to_json_data(get_rng_state(subject))
        epoch_rng = loop_rng = None
        if mid_epoch:  # only then does the loop continue from them
            epoch_rng = rng if self.epoch_rng is None and self.enabled else to_json_data(self.epoch_rng)
            loop_rng = to_json_data(self.loop_rng)
        return RankState(
            means=storable(state.means.sums()) if mid_epoch else {},
            rng=rng,
            epoch_rng=epoch_rng,
            loop_rng=loop_rng if loop_rng != epoch_rng else None,
            loaders=[capture_loader(loader) for loader in self._loaders],
            loop_loader=self.loop_loader if mid_epoch else None,
            subject=to_json_data(subject.run_state()) if has(subject, HasRunState) else None,
        )

    def checkpoint_state(self, decision: Decision, other_ranks: Sequence[RankState] = ()) -> CheckpointState:
        """Return the state of the run after the plugins have decided ``decision``.

        Args:
            decision: The decision that saves the checkpoint.
            other_ranks: The states of all ranks except rank 0, as differences from rank 0's.

        Raises:
            TypeError: The state of a plugin or of the subject is not plain data.
        """
        if self._held is not None:
            return self._held.model_copy(update={"other_ranks": list(other_ranks)})
        state, subject, position = self.state, self.state.subject, self.state.position
        return CheckpointState(
            run=state.run_id,
            origin=state.origin,
            hparams=to_json_data(dict(state.hparams)),
            position=position,
            at_end=state.phase == "ended",
            rank_state=self.rank_state(),
            epochs_recorded=state.earlier_epochs + len(state.epoch_metrics),
            known_epochs=[(epoch, storable(metrics)) for epoch, metrics in state.extremes.epochs()],
            validate_every=state.plan.validate_every,
            validated=state.validated,
            stop_actions=[action_to_json(each) for each in state.stop_actions if each.by != REQUEST],
            decision=[action_to_json(each) for each in decision if not state.interrupted],
            learning_rates=dict(subject.learning_rates()) if has(subject, HasLearningRate) else {},
            script_learning_rates=dict(state.script_learning_rates),
            options=options_of(subject),
            script_options=dict(state.script_options),
            rate_changes=self._rate_changes(),
            undone_rates=sorted(self._undone_rates),
            uncut_rates=self._uncut_rates(),
            event_counts=self._event_counts(),
            first_learning_rates=fetch_together(state.learning_rates) if position.loops or position.batches else {},
            plugins=[self._plugin_state(name, plugin) for name, plugin in self._plugins.items()],
            world_size=self._world_size,
            planned_batches=state.planned_batches if position.mid_epoch else None,
            batch_size=self._batch_size(position) if position.mid_epoch else None,
            other_ranks=list(other_ranks),
        )

    def end_record(self) -> EndRecord:
        """Return the record of the run's end."""
        state = self.state
        restores = [
            action for _, decision in state.decision_log[-1:] for action in decision if isinstance(action, Restore)
        ]
        return EndRecord(
            run=state.run_id,
            continues=state.continued_id,
            epochs=state.epochs_finished,
            step=state.step,
            reason=state.reason,
            restored=restores[-1].source if restores else "",
            stop_actions=[action_to_json(each) for each in state.stop_actions if each.by != REQUEST],
            plugins=[
                PluginState(name=name, callback=callback, settings=settings)
                for name, (callback, settings) in self._settings.items()
            ],
            history=compress_log((epoch, storable(metrics)) for epoch, metrics in state.epoch_metrics),
            decision_log=compress_log(
                (epoch, decision_to_json(each)) for epoch, each in state.decision_log if REQUEST not in each.askers
            ),
        )

    def history_for(self, path: Location) -> HistoryLog:
        """Return the history that the checkpoint at an absolute path names, with everything until now.

        While the state of the resumed checkpoint is stored, the history ends as that of this checkpoint.
        """
        return self.history.log_for(path, restored=self._held is not None)

    def _batch_size(self, position: Position) -> int | None:
        """Return the samples in a batch of the current loop; None if unknown."""
        return next(map(batch_size_of, self._loaders[position.loops : position.loops + 1]), None)

    def _plugin_state(self, name: str, plugin: object) -> PluginState:
        callback, settings = self._settings[name]
        state_dict = None
        if has(plugin, HasStateDict):
            try:
                state_dict = to_json_data(plugin.state_dict(), arrays=False)
            except Exception as error:
                if not is_observer(plugin):
                    add_plugin_note(error, "state_dict", name)
                    raise
                self._failures.record_hook_error(name, "state_dict", error)
        places = {each: "" for each in self._path_settings.get(name, ()) if isinstance(settings.get(each), str)}
        return PluginState(name=name, callback=callback, settings=settings, state_dict=state_dict, places=places)
