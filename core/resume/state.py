"""What a checkpoint remembers of its run beside the payload: where it stood, and what each plugin knew."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field

from .. import decision as decisions
from ..capabilities import HasLearningRate, Remembers
from ..decision import REQUEST, Action, Decision
from ..failures import Failures, observes, sign
from ..metrics.running_means import Means
from .dataloader_state import state_of
from .rng_state import random_state
from .serialization import from_plain, packed, to_plain

if TYPE_CHECKING:
    from ..callback import Callback
    from ..engine.continuation import Continuation

__all__ = [
    "Memory",
    "Position",
    "Remembered",
    "Share",
    "action_from_plain",
    "action_to_plain",
    "capture",
    "decision_from_plain",
    "decision_to_plain",
    "share_of",
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


class Remembered(BaseModel):
    """What one plugin knew."""

    name: str
    callback: str = ""
    """The class of the callback that made it; empty for none."""
    settings: dict[str, Any] = Field(default_factory=dict[str, Any])
    memory: Any = None


State = dict[str, Any] | None
GENERATORS = ("random", "loop_random")
"""What of a share is the state of random generators, by name of the library that has them."""


class Share(BaseModel):
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

    def packed(self) -> Share:
        """The same in less space."""
        states = {name: getattr(self, name) for name in GENERATORS}
        small = {name: state and {each: packed(state[each]) for each in state} for name, state in states.items()}
        return self.model_copy(update=small)

    def beside(self, first: Share) -> Share:
        """What of it the first rank's share does not tell: without generators that stand where the first one's do."""
        return self._each(first, _without)

    def along(self, first: Share) -> Share:
        """What `beside` was called on."""
        return self._each(first, _within)

    def _each(self, first: Share, put: Callable[[State, State], State]) -> Share:
        return self.model_copy(update={each: put(getattr(self, each), getattr(first, each)) for each in GENERATORS})


class Memory(Share):
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
    plugins: list[Remembered] = Field(default_factory=list[Remembered])
    world_size: int = 1
    others: list[Share] = Field(default_factory=list[Share])
    """What the ranks after the first remember."""

    def of(self, rank: int, world_size: int) -> Memory:
        """The memory as one rank of now needs it.

        Where there are as many ranks as then, each remembers what it did. Else rank 0 goes on from the metrics that all
        of them had, every rank from as many samples as all had trained on and from what rank 0's subject knew, and the
        others draw afresh.
        """
        if world_size == self.world_size:
            own = (self.others[rank - 1 : rank] or [Share()])[0] if rank else self
            return self.model_copy(update=dict(own.along(self))) if rank else self
        batches = self.position.batches * self.world_size // world_size
        position = self.position.model_copy(update={"batches": batches})
        share = (
            self.model_copy(update={"means": _joined([self, *self.others])})
            if rank == 0
            else Share(subject=self.subject)
        )
        return self.model_copy(
            update={**{name: getattr(share, name) for name in Share.model_fields}, "position": position}
        )


def capture(run: Continuation, decision: Decision, failures: Failures) -> Memory:
    """All that a resumed run needs to decide as this one will, after the answers that joined into `decision`.

    Raises:
        TypeError: a plugin or the subject remembers what is no plain data.
    """
    subject = run.subject
    return Memory(
        **dict(share_of(run)),
        position=run.position,
        history=run.packed_past.text(run.past, lambda each: (each[0], _numbers(each[1]))),
        validated=run.validated,
        files=[str(file) for file in run.files],
        stops=[action_to_plain(each) for each in run.stops if each.by != REQUEST],
        decision=[action_to_plain(each) for each in decision if not run.interrupted],
        decided=run.packed_decided.text(
            run.decided, lambda each: None if REQUEST in each[1].askers else (each[0], decision_to_plain(each[1]))
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


def share_of(run: Continuation) -> Share:
    """What this rank remembers by itself."""
    inside = run.position.inside
    return Share(
        means=_numbers(run.means.sums()) if inside else None,
        random=to_plain(random_state(run.subject)),
        loop_random=to_plain(run.loop_random) if inside else None,
        loaders=[state_of(loader) for loader in run.loaders],
        loop_loader=run.loop_loader if inside else None,
        subject=to_plain(run.subject.memory()) if isinstance(run.subject, Remembers) else None,
    )


def _remembered(name: str, plugin: object, callback: Callback | None, failures: Failures) -> Remembered:
    memory = None
    if isinstance(plugin, Remembers):
        try:
            memory = to_plain(plugin.memory())
        except Exception as error:
            if not observes(plugin):
                sign(error, "memory", name)
                raise
            failures.tolerate(name, "memory", error)
    settings = {} if callback is None else callback.settings()
    return Remembered(name=name, callback=settings.pop("callback", ""), settings=settings, memory=memory)


def _numbers(metrics: Mapping[str, Any]) -> Any:
    """The metrics that are numbers or arrays of them."""
    found: dict[str, Any] = {}
    for name, value in metrics.items():
        try:
            found[name] = to_plain(value)
        except TypeError:
            continue
    return found


def _joined(shares: Iterable[Share]) -> Any:
    """The metrics of all ranks as one's."""
    means = Means()
    for share in shares:
        means.join(from_plain(share.means) or {})
    return to_plain(means.sums())


def decision_to_plain(decision: Decision) -> list[dict[str, Any]]:
    """The actions of a decision as plain data."""
    return [action_to_plain(each) for each in decision]


def decision_from_plain(actions: Iterable[Mapping[str, Any]]) -> Decision:
    """The decision of these actions."""
    return Decision(frozenset(action_from_plain(each) for each in actions))


def action_to_plain(action: Action) -> dict[str, Any]:
    """An action as plain data.

    >>> action_to_plain(decisions.Forget("a.pt", reason="old"))
    {'action': 'Forget', 'reason': 'old', 'by': '', 'source': 'a.pt'}
    """
    options = {each.name: getattr(action, each.name) for each in fields(action)}
    for name in ("rule", "values"):
        if not options[name]:
            del options[name]
    return {"action": type(action).__name__, **to_plain(options)}


def action_from_plain(data: Mapping[str, Any]) -> Action:
    """The action that `action_to_plain` was given."""
    options = dict(from_plain(dict(data)))
    kind: type[Action] = getattr(decisions, options.pop("action"))
    return kind(**options)
