"""Decisions are values that join in any order to the same decision."""

from collections.abc import Mapping
from math import inf, nan
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainbus import Decision, SettingsError, decision
from trainbus.decision import NOTHING, Restore, Save, ScaleLearningRate, SetLearningRate, Stop, join

from .made import decisions, names


@given(decisions, decisions, decisions)
def test_join_is_a_semilattice(a: Decision, b: Decision, c: Decision) -> None:
    """The join is commutative, associative and idempotent, with NOTHING as identity."""
    assert a | b == b | a
    assert (a | b) | c == a | (b | c)
    assert a | a == a
    assert a | NOTHING == a


@given(st.lists(decisions), st.randoms())
def test_order_of_answers_does_not_matter(answers: list[Decision], random) -> None:
    """Shuffled or repeated answers give the same actions in the same order."""
    shuffled = answers * 2
    random.shuffle(shuffled)

    assert list(join(shuffled)) == list(join(answers))


@given(decisions)
def test_actions_come_in_the_documented_order(each: Decision) -> None:
    """Learning rate, keep, save, restore, forget, stop."""
    orders = [action.order for action in each]

    assert orders == sorted(orders)
    assert ScaleLearningRate.order < Save.order < Restore.order < Stop.order


@given(decisions, names)
def test_signing_names_the_asker_once(each: Decision, name: str) -> None:
    """Every action of a signed decision has an asker, and the first signature stays."""
    signed = each.signed(name)

    assert all(action.by == name for action in signed)
    assert signed.signed("another") == signed


@given(decisions)
def test_stops_and_truth(each: Decision) -> None:
    """A decision stops if and only if one of its actions is a stop; it is true if and only if it has actions."""
    assert each.stops == any(isinstance(action, Stop) for action in each.actions)
    assert bool(each) == (each != NOTHING)
    assert set(each.reasons) == {action.reason for action in each} - {""}


def with_cut(answers: Decision) -> bool:
    return any(isinstance(action, ScaleLearningRate) for action in answers)


@given(st.lists(decisions))
def test_a_cut_cancels_the_stops_that_give_way_to_it(answers: list[Decision]) -> None:
    """And no other action: the join is the union without them, in whatever order and grouping they join."""
    everything = frozenset(action for each in answers for action in each.actions)
    gives_way = frozenset(action for action in everything if isinstance(action, Stop) and action.unless_cut)
    cut = any(with_cut(each) for each in answers)

    assert join(answers).actions == (everything - gives_way if cut else everything)
    assert join(answers[:1]) | join(answers[1:]) == join(answers)


@pytest.mark.parametrize(
    ("other", "stops"),
    [
        (decision.scale_learning_rate(0.5), False),
        (decision.scale_learning_rate(0.5, groups=["learning_rate/0"]), False),
        (decision.scale_learning_rate(0.5) | decision.stop("time is up"), True),
        (decision.set_learning_rate(0.1), True),
        (decision.save("a.npz") | decision.keep("best"), True),
        (NOTHING, True),
    ],
)
def test_only_a_cut_cancels_such_a_stop(other: Decision, stops: bool) -> None:
    """A rate that a schedule sets is no cut; a stop for another reason stays."""
    for together in (
        decision.stop("stalled", unless_cut=True) | other,
        other | decision.stop("stalled", unless_cut=True),
    ):
        assert together.stops == stops
        assert other.actions <= together.actions


@pytest.mark.parametrize("policy", ["ignore", "Raise", "", None])
def test_an_unknown_error_policy_is_refused(policy: Any) -> None:
    """A misspelt policy would otherwise let a run continue without its file."""
    with pytest.raises(SettingsError, match=f"save: on_error={policy!r}: give 'raise' or 'warn'"):
        decision.save("a.npz", on_error=policy)


@pytest.mark.parametrize(
    ("path", "parts"),
    [("m.pt", {"a": "x.pt", "b": "y.pt"}), ("x.pt", {"a": "x.pt", "b": "x.pt"}), ("x.pt", {"a": "X.pt"})],
)
def test_files_of_models_that_do_not_fit_the_path_are_refused(path: str, parts: dict[str, str]) -> None:
    """One of them is the path, and each model has its own."""
    with pytest.raises(SettingsError, match=r"save: parts=.*: give each model a name of its own, one of them that of"):
        decision.save(f"run/{path}", parts=parts)


def test_a_decision_makes_the_files_of_all_models() -> None:
    """So it deletes none of them."""
    made = decision.save("run/a.pt", parts={"a": "a.pt", "b": "b.pt"}) | decision.forget("run/b.pt")
    assert made.makes == {"run/a.pt", "run/b.pt"}


@pytest.mark.parametrize("factor", [-0.1, float("nan"), float("inf")])
def test_a_factor_that_spoils_every_learning_rate_is_refused(factor: float) -> None:
    """A negative factor, a NaN and an infinity; 0 is allowed, for a rate that ends at its floor."""
    with pytest.raises(SettingsError, match=r"scale_learning_rate: factor=.*: give a finite number, 0 or above"):
        decision.scale_learning_rate(factor)
    assert decision.scale_learning_rate(0)


@pytest.mark.parametrize("rate", [-0.1, nan, inf, -inf, True, None, "0.1", [0.1], {}, {"a": -1}, {"a": None}, {1: 0.1}])
def test_a_rate_that_cannot_be_set_is_refused(rate: Any) -> None:
    """The message names the function and what was given."""
    with pytest.raises(SettingsError, match=r"set_learning_rate: rate=.*: give "):
        decision.set_learning_rate(rate)


@pytest.mark.parametrize("rate", [0, 1, 0.5, np.float32(0.5), np.array(0.5), np.array([0.5]), {"learning_rate/a": 0}])
def test_a_rate_is_stored_as_a_float(rate: Any) -> None:
    """Also one of NumPy, and each of several."""
    (action,) = decision.set_learning_rate(rate)

    assert isinstance(action, SetLearningRate)
    stored = [*action.rate.values()] if isinstance(action.rate, Mapping) else [action.rate]
    assert [type(each) for each in stored] == [float]


@pytest.mark.parametrize(
    "options",
    [{"floor": -1}, {"floor": {"a": nan}}, {"floor": None}, {"eps": -1}, {"eps": inf}, {"groups": "learning_rate/0"}],
)
def test_options_of_a_cut_that_have_no_meaning_are_refused(options: Any) -> None:
    """The message names the option and what was given."""
    with pytest.raises(SettingsError, match=rf"scale_learning_rate: {next(iter(options))}.*: give a "):
        decision.scale_learning_rate(0.5, **options)


@given(st.lists(decisions))
def test_the_order_is_that_of_kinds_then_texts(parts: list[Decision]) -> None:
    """Whether a decision has several actions of one kind or only one of each."""
    joined = join(parts)
    expected = sorted(joined.actions, key=lambda action: (action.order, repr(action), repr(action.values)))

    assert list(joined) == expected
