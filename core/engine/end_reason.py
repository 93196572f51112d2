"""Why a run has ended, in words."""

from __future__ import annotations

from typing import Literal, Protocol

from ..decision import Stop
from .plan import EpochPlan, StepPlan


class EndedState(Protocol):
    """The part of ``RunState`` that says how a run has ended."""

    phase: Literal["new", "open", "ended"]
    epoch: int
    left: bool
    plan: EpochPlan | StepPlan
    stop_actions: list[Stop]
    error: BaseException | None

    @property
    def step(self) -> int:
        """Total weight updates of the run."""
        ...


def reason_of(state: EndedState) -> str:
    """Return the reason why the run ended, or that it has not ended."""
    if state.stop_actions:
        return "; ".join(dict.fromkeys(each.reason for each in state.stop_actions))
    if isinstance(state.error, KeyboardInterrupt):
        return "interrupted"
    if state.error is not None:
        return f"{type(state.error).__name__}: {state.error}"
    if state.phase != "ended":
        return "not over yet"
    plan, by_epochs = state.plan, state.plan.unit == "epoch"
    if state.left:
        return f"the loop was left {'in' if by_epochs else 'at'} {plan.moment(state.epoch, state.step)}"
    if plan.total and plan.is_done(state.epoch + 1, state.step):
        return "all epochs done" if by_epochs else "all steps done"
    return "the loop ended"
