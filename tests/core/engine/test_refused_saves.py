"""A plugin refuses to save the present state: nothing is saved, kept or deleted, and its own decision is executed."""

from __future__ import annotations

import pytest

from trainbus import Decision, Run, decision, hookimpl
from trainbus.decision import NOTHING
from trainbus.engine.refused_saves import without_refused_saves
from trainbus.testing import LineSubject

ALL = [
    decision.save("m"),
    decision.keep("best"),
    decision.forget("old"),
    decision.restore("best"),
    decision.stop("enough"),
    decision.scale_learning_rate(0.5),
]


class Refuses:
    """Refuses with this answer, and counts how often it is asked."""

    def __init__(self, answer: Decision | None) -> None:
        self.answer, self.asked = answer, 0

    def refuse_save(self) -> Decision | None:
        self.asked += 1
        return self.answer

    @hookimpl
    def on_train_begin(self) -> None: ...


@pytest.mark.parametrize("answer", [None, NOTHING, decision.stop("no"), decision.save("dump") | decision.stop("no")])
@pytest.mark.parametrize("saves", [True, False])
def test_saves_are_replaced_by_the_answer(answer: Decision | None, saves: bool) -> None:
    plugin = Refuses(answer)
    asked = decision.join(ALL if saves else ALL[2:]).signed("other")
    result = without_refused_saves(asked, [("plugin", object()), ("guard", plugin)])

    assert plugin.asked == saves
    if answer is None or not saves:
        assert result == asked
    else:
        kinds = {type(each).__name__ for each in result if each.by == "other"}
        assert kinds == {"Restore", "Stop", "ScaleLearningRate"}
        assert Decision(frozenset(each for each in result.actions if each.by == "guard")) == answer.signed("guard")


def test_its_own_saves_are_not_refused() -> None:
    own = decision.join(ALL).signed("guard")

    assert without_refused_saves(own, [("guard", Refuses(NOTHING))]) == own


def test_a_save_of_the_loop_is_refused_too() -> None:
    with Run(LineSubject(), Refuses(decision.stop("not this state"))) as run:
        for _ in run.epochs(2):
            run.log(loss=1.0)
            run.decide(decision.save("m.npz"))

    assert (list(run.state.files), run.result.reason) == ([], "not this state")
