"""Actions are values with a place in the order of execution."""

from hypothesis import given
from hypothesis import strategies as st

from trainbus.decision import Forget, FrozenValues, Keep, Restore, Save, ScaleLearningRate, SetLearningRate, Stop

KINDS = (ScaleLearningRate, SetLearningRate, Keep, Save, Restore, Forget, Stop)
rates = st.floats(0, 1e6)


def test_each_kind_has_a_place_and_a_name_of_its_own() -> None:
    """The run sorts by the place; the name is that of the function that makes the action. Rates change at one place."""
    assert [kind.order for kind in KINDS] == [0, *range(len(KINDS) - 1)]
    assert len({kind.kind for kind in KINDS}) == len(KINDS)


@given(st.dictionaries(st.text(max_size=3), st.integers() | st.floats() | st.text(max_size=3)))
def test_values_are_frozen_so_that_actions_are_hashable(values: dict[str, int | float | str]) -> None:
    """A dict that its owner changes later changes no action."""
    action = Stop(values=dict(values))
    same = Stop(values=FrozenValues(values))

    assert (action, hash(action)) == (same, hash(same))
    assert isinstance(action.values, FrozenValues)


@given(rates, st.floats(0, 1), rates)
def test_a_cut_raises_no_rate_and_stops_at_its_floor(rate: float, factor: float, floor: float) -> None:
    """A rate that is already at or below the floor does not change."""
    new = ScaleLearningRate(factor, floor).applied_to(rate)

    assert new <= rate
    assert new == rate if rate <= floor else new >= floor


@given(rates, st.floats(0, 2), rates, st.floats(0, 1e5))
def test_a_cut_not_larger_than_eps_changes_nothing(rate: float, factor: float, floor: float, eps: float) -> None:
    """As in torch: ``if old - new > eps``; a factor above 1 is no cut."""
    new, free = (ScaleLearningRate(factor, floor, eps=each).applied_to(rate) for each in (eps, 0.0))

    assert new == (free if rate - free > eps or free > rate else rate)


@given(rates, rates)
def test_a_cut_of_some_names_leaves_the_others(first: float, second: float) -> None:
    """A floor by name is one of that rate only; the order of the names does not matter."""
    cut = ScaleLearningRate(0.5, {"a": first}, groups=("b", "a", "b"))

    assert cut == ScaleLearningRate(0.5, {"a": first}, groups=("a", "b"))
    assert (cut.applied_to(second, "a"), cut.applied_to(second, "b"), cut.applied_to(second, "c")) == (
        max(second / 2, first) if second > first else second,
        second / 2,
        second,
    )


@given(st.dictionaries(st.sampled_from(["learning_rate/a", "learning_rate/b"]), rates, min_size=1))
def test_rates_by_name_are_frozen(named: dict[str, float]) -> None:
    """The action is hashable, equal to one of the same rates in another order, and asks for no other rate."""
    action, same = SetLearningRate(named), SetLearningRate(dict(reversed(named.items())))

    assert (action, hash(action)) == (same, hash(same))
    assert {name: action.asked_for(name) for name in named} == named
    assert action.asked_for("learning_rate/c") is None
    assert SetLearningRate(0.5).asked_for("learning_rate/c") == 0.5


def test_a_save_of_several_models_names_the_files_and_links_of_all() -> None:
    """Beside each other, the one that is the path of the save first."""
    parts = {"netD": "D-1.pt", "netG": "G-1.pt"}
    action = Save("run/G-1.pt", parts=parts, link={"netD": "D.pt", "netG": "../G.pt"})
    assert action.paths == ("run/G-1.pt", "run/D-1.pt")
    assert action.links == (("run/G-1.pt", "../G.pt"), ("run/D-1.pt", "D.pt"))
    assert Save("s3://b/G-1.pt", parts=parts).paths == ("s3://b/G-1.pt", "s3://b/D-1.pt")
    assert Save("G-1.pt", parts=parts).paths == ("G-1.pt", "D-1.pt")
    assert (Save("m.pt").paths, Save("m.pt").links) == (("m.pt",), ())
    assert Save("m.pt", link="last.pt").links == (("m.pt", "last.pt"),)
    assert hash(action) == hash(Save("run/G-1.pt", parts=dict(parts), link={"netG": "../G.pt", "netD": "D.pt"}))
