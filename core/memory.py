"""What a checkpoint remembers of its run beside the payload: where it stood, and what each plugin knew."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import fields
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field

from . import decision as decisions
from .capabilities import HasLearningRate, Remembers
from .decision import REQUEST, Action, Decision
from .failures import Failures, observes
from .guards import sign
from .loaders import state_of
from .plain import from_plain, to_plain
from .randomness import random_state

if TYPE_CHECKING:
    from .callback import Callback
    from .continuation import Continuation

__all__ = ["Memory", "Position", "Remembered", "action_from_plain", "action_to_plain", "capture", "decision_from_plain"]


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


class Memory(BaseModel):
    """What a checkpoint remembers."""

    position: Position
    history: list[tuple[int, Any]]
    """Each epoch that is over, with its metrics."""
    means: Any = None
    validated: bool = False
    files: list[str] = Field(default_factory=list[str])
    """Checkpoints that were written and not forgotten."""
    stops: list[dict[str, Any]] = Field(default_factory=list[dict[str, Any]])
    decision: list[dict[str, Any]] = Field(default_factory=list[dict[str, Any]])
    """The actions of which saving this checkpoint was one; those that come after it may not have been carried out.
    Empty where a signal has asked for it."""
    decided: list[tuple[int, Any]] = Field(default_factory=list[tuple[int, Any]])
    """Each decision before that, with its epoch, without those of a signal."""
    slots: dict[str, Any] = Field(default_factory=dict[str, Any])
    rates: dict[str, float] = Field(default_factory=dict[str, float])
    random: Any = None
    loop_random: Any = None
    """The random generators before the present loop over batches began, which draws their order."""
    loaders: list[Any] = Field(default_factory=list[Any])
    """Of each loop over batches of an epoch, where its loader stands."""
    loop_loader: Any = None
    """Where the loader of the present loop stood before it began."""
    subject: Any = None
    plugins: list[Remembered] = Field(default_factory=list[Remembered])


def capture(run: Continuation, decision: Decision, failures: Failures) -> Memory:
    """All that a resumed run needs to decide as this one will, after the answers that joined into `decision`.

    Raises:
        TypeError: a plugin or the subject remembers what is no plain data.
    """
    subject, inside = run.subject, run.position.inside
    return Memory(
        position=run.position,
        history=[(epoch, _numbers(metrics)) for epoch, metrics in run.past],
        means=_numbers(run.means.sums()) if inside else None,
        validated=run.validated,
        files=[str(file) for file in run.files],
        stops=[action_to_plain(each) for each in run.stops if each.by != REQUEST],
        decision=[action_to_plain(each) for each in decision if not run.interrupted],
        decided=[(epoch, _decision_to_plain(each)) for epoch, each in run.decided if REQUEST not in each.askers],
        rates=dict(subject.learning_rates()) if isinstance(subject, HasLearningRate) else {},
        random=to_plain(random_state(subject)),
        loop_random=to_plain(run.loop_random) if inside else None,
        loaders=[state_of(loader) for loader in run.loaders],
        loop_loader=run.loop_loader if inside else None,
        subject=to_plain(subject.memory()) if isinstance(subject, Remembers) else None,
        plugins=[_remembered(name, plugin, run.callbacks.get(name), failures) for name, plugin in run.plugins.items()],
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


@lru_cache(maxsize=4096)
def _decision_to_plain(decision: Decision) -> list[dict[str, Any]]:
    return [action_to_plain(each) for each in decision]  # a run remembers all of them in each of its checkpoints


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
