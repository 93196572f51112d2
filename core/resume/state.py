"""What a checkpoint remembers of its run beside the payload: where it stood, and what each plugin knew."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field

from ..capabilities import HasLearningRate, HasRunState, HasStateDict
from ..decision import REQUEST, Decision, action_to_json, decision_to_json
from ..failures import Failures, add_plugin_note, is_observer
from ..metrics.running_means import RunningMeans
from .dataloader_state import capture_loader
from .rng_state import get_rng_state
from .serialization import compress_arrays, from_json_data, to_json_data

if TYPE_CHECKING:
    from ..callback import Callback
    from ..engine.continuation import Continuation

__all__ = [
    "CheckpointState",
    "PluginState",
    "Position",
    "RankState",
    "collect_checkpoint_state",
    "collect_rank_state",
]


class Position(BaseModel):
    """How far a run has come."""

    model_config = ConfigDict(frozen=True)

    epochs: int
    """Epochs that are over, which is also the number of the one to go on with, counted from 0."""
    inside: bool = False
    """Whether that epoch has begun."""
    loops: int = 0
    """Loops over batches that it has left behind."""
    batches: int = 0
    """Batches of the loop after these that were trained on."""


class PluginState(BaseModel):
    """What one plugin knew."""

    name: str
    callback: str = ""
    """The class of the callback that made it; empty for none."""
    settings: dict[str, Any] = Field(default_factory=dict[str, Any])
    memory: Any = None


State = dict[str, Any] | None
GENERATORS = ("random", "loop_random")
"""What of a share is the state of random generators, by name of the library that has them."""


class RankState(BaseModel):
    """What one rank of several remembers by itself."""

    means: Any = None
    random: Any = None
    loop_random: Any = None
    """The random generators before the present loop over batches began, which draws their order."""
    loaders: list[Any] = Field(default_factory=list[Any])
    """Of each loop over batches of an epoch, where its loader stands."""
    loop_loader: Any = None
    """Where the loader of the present loop stood before it began."""
    subject: Any = None

    def compressed(self) -> RankState:
        """The same in less space."""
        states = {name: getattr(self, name) for name in GENERATORS}
        small = {
            name: state and {each: compress_arrays(state[each]) for each in state} for name, state in states.items()
        }
        return self.model_copy(update=small)

    def beside(self, first: RankState) -> RankState:
        """What of it the first rank's share does not tell: without generators that stand where the first one's do."""
        return self._each(first, _without)

    def along(self, first: RankState) -> RankState:
        """What `beside` was called on."""
        return self._each(first, _within)

    def _each(self, first: RankState, put: Callable[[State, State], State]) -> RankState:
        return self.model_copy(update={each: put(getattr(self, each), getattr(first, each)) for each in GENERATORS})


class CheckpointState(RankState):
    """What a checkpoint remembers."""

    position: Position
    history: str | list[Any]
    """Each epoch that is over, with its metrics, packed."""
    validated: bool = False
    files: list[str] = Field(default_factory=list[str])
    """Checkpoints that were written and not forgotten."""
    stops: list[dict[str, Any]] = Field(default_factory=list[dict[str, Any]])
    decision: list[dict[str, Any]] = Field(default_factory=list[dict[str, Any]])
    """The actions of which saving this checkpoint was one; those that come after it may not have been carried out.
    Empty where a signal has asked for it."""
    decided: str | list[Any] = ""
    """Each decision before that, with its epoch, without those of a signal; packed."""
    slots: dict[str, Any] = Field(default_factory=dict[str, Any])
    rates: dict[str, float] = Field(default_factory=dict[str, float])
    plugins: list[PluginState] = Field(default_factory=list[PluginState])
    world_size: int = 1
    others: list[RankState] = Field(default_factory=list[RankState])
    """What the ranks after the first remember."""

    def of(self, rank: int, world_size: int) -> CheckpointState:
        """The memory as one rank of now needs it.

        Where there are as many ranks as then, each remembers what it did. Else rank 0 goes on from the metrics that all
        of them had, every rank from as many samples as all had trained on and from what rank 0's subject knew, and the
        others draw afresh.
        """
        if world_size == self.world_size:
            own = (self.others[rank - 1 : rank] or [RankState()])[0] if rank else self
            return self.model_copy(update=dict(own.along(self))) if rank else self
        batches = self.position.batches * self.world_size // world_size
        position = self.position.model_copy(update={"batches": batches})
        share = (
            self.model_copy(update={"means": _joined([self, *self.others])})
            if rank == 0
            else RankState(subject=self.subject)
        )
        return self.model_copy(
            update={**{name: getattr(share, name) for name in RankState.model_fields}, "position": position}
        )


def collect_checkpoint_state(run: Continuation, decision: Decision, failures: Failures) -> CheckpointState:
    """All that a resumed run needs to decide as this one will, after the answers that joined into `decision`.

    Raises:
        TypeError: a plugin or the subject remembers what is no plain data.
    """
    subject = run.subject
    return CheckpointState(
        **dict(collect_rank_state(run)),
        position=run.position,
        history=run.packed_past.text(run.past, lambda each: (each[0], _numbers(each[1]))),
        validated=run.validated,
        files=[str(file) for file in run.files],
        stops=[action_to_json(each) for each in run.stops if each.by != REQUEST],
        decision=[action_to_json(each) for each in decision if not run.interrupted],
        decided=run.packed_decided.text(
            run.decided, lambda each: None if REQUEST in each[1].askers else (each[0], decision_to_json(each[1]))
        ),
        rates=dict(subject.learning_rates()) if isinstance(subject, HasLearningRate) else {},
        plugins=[_remembered(name, plugin, run.callbacks.get(name), failures) for name, plugin in run.plugins.items()],
        world_size=run.world_size,
        others=run.shares,
    )


def _without(state: State, known: State) -> State:
    first = known or {}
    return state and {name: each for name, each in state.items() if first.get(name) != each}


def _within(state: State, known: State) -> State:
    return state if state is None else {**(known or {}), **state}


def collect_rank_state(run: Continuation) -> RankState:
    """What this rank remembers by itself."""
    inside = run.position.inside
    return RankState(
        means=_numbers(run.means.sums()) if inside else None,
        random=to_json_data(get_rng_state(run.subject)),
        loop_random=to_json_data(run.loop_random) if inside else None,
        loaders=[capture_loader(loader) for loader in run.loaders],
        loop_loader=run.loop_loader if inside else None,
        subject=to_json_data(run.subject.run_state()) if isinstance(run.subject, HasRunState) else None,
    )


def _remembered(name: str, plugin: object, callback: Callback | None, failures: Failures) -> PluginState:
    memory = None
    if isinstance(plugin, HasStateDict):
        try:
            memory = to_json_data(plugin.state_dict())
        except Exception as error:
            if not is_observer(plugin):
                add_plugin_note(error, "state_dict", name)
                raise
            failures.record_hook_error(name, "state_dict", error)
    settings = {} if callback is None else callback.settings()
    return PluginState(name=name, callback=settings.pop("callback", ""), settings=settings, memory=memory)


def _numbers(metrics: Mapping[str, Any]) -> Any:
    """The metrics that are numbers or arrays of them."""
    found: dict[str, Any] = {}
    for name, value in metrics.items():
        try:
            found[name] = to_json_data(value)
        except TypeError:
            continue
    return found


def _joined(shares: Iterable[RankState]) -> Any:
    """The metrics of all ranks as one's."""
    means = RunningMeans()
    for share in shares:
        means.merge(from_json_data(share.means) or {})
    return to_json_data(means.sums())
