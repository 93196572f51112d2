"""Tests of ReduceLROnPlateau where it has no equal in Keras."""

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from trainbus import Run, SettingsError
from trainbus.adapters.torch import TorchSubject
from trainbus.callback.planned_training import PlannedTraining
from trainbus.plugins import EarlyStopping, ReduceLROnPlateau
from trainbus.testing import LineSubject, scripted


class TwoRates(LineSubject):
    """A subject with two learning rates."""

    def __init__(self, first: float, second: float) -> None:
        super().__init__()
        self.rates = {"learning_rate/first": first, "learning_rate/second": second}

    def learning_rates(self):
        return dict(self.rates)

    def set_learning_rates(self, rates):
        self.rates.update(rates)


@given(st.floats(1e-4, 1), st.floats(1e-4, 1), st.floats(0.01, 0.99), st.floats(0, 0.5))
def test_every_rate_above_its_floor_is_scaled(first: float, second: float, factor: float, floor: float) -> None:
    """One reduction multiplies each rate by the factor, down to min_lr, and raises no rate below it."""
    subject = TwoRates(first, second)
    callback = ReduceLROnPlateau(monitor="loss", factor=factor, min_lr=floor, patience=1)
    scripted([{"loss": 1.0}] * 2, callback, subject)

    expected = [max(rate * factor, floor) if rate > floor else rate for rate in (first, second)]
    assert list(subject.rates.values()) == expected


def test_history_has_the_rate_that_each_epoch_was_trained_with() -> None:
    """The rate of an epoch is that before its own reduction, and the result reports the reductions."""
    run, _ = scripted([{"val_loss": 1.0}] * 4, ReduceLROnPlateau(factor=0.5, patience=1, min_lr=0.1), LineSubject(0.4))

    assert run.history["learning_rate"] == [0.4, 0.4, 0.2, 0.1]
    assert str(run.result).endswith("learning rate: 0.4 -> 0.2 -> 0.1")


def test_two_reductions_at_once_are_one() -> None:
    """Two callbacks that ask in the same epoch give the lower of the two rates, not their product."""
    subject = LineSubject(0.4)
    callbacks = [ReduceLROnPlateau(monitor="loss", factor=factor, patience=1) for factor in (0.5, 0.25)]
    scripted([{"loss": 1.0}] * 2, callbacks, subject)

    assert subject.learning_rate == 0.1


def test_the_learning_rate_can_be_monitored() -> None:
    """learning_rate, or lr, is a metric like any other if the subject has one."""
    callbacks = [
        ReduceLROnPlateau(monitor="loss", factor=0.5, patience=1),
        EarlyStopping(monitor="lr", mode="min", patience=2),
    ]
    run, _ = scripted([{"loss": 1.0}] * 9, callbacks, LineSubject(0.4))

    assert run.result.best["learning_rate"].value == pytest.approx(0.4 * 0.5**7)


# --- groups


def grouped(rates: list[float]) -> tuple[TorchSubject, torch.optim.Optimizer]:
    model = torch.nn.ModuleList(torch.nn.Linear(1, 1) for _ in rates)
    groups = [{"params": each.parameters(), "lr": rate} for each, rate in zip(model, rates, strict=True)]
    optimizer = torch.optim.SGD(groups)
    return TorchSubject(model, optimizer), optimizer


def rates_in(optimizer: torch.optim.Optimizer) -> list[float]:
    return [group["lr"] for group in optimizer.param_groups]


small = st.floats(1e-6, 1.0)


@pytest.mark.parametrize("rule", ["keras", "torch"])
@given(st.data(), st.integers(2, 3), st.sampled_from([0.1, 0.3, 0.5, 0.9]), st.integers(0, 2), st.integers(0, 2))
def test_floors_and_eps_are_those_of_torch(
    rule: Any, data: Any, count: int, factor: float, patience: int, cooldown: int
) -> None:
    """Keras's rule counts a patience and a cooldown that are larger by one; every rate is the same to the bit."""
    rates, floors = (data.draw(st.lists(small, min_size=count, max_size=count)) for _ in range(2))
    eps = data.draw(st.sampled_from([0.0, 1e-8, 1e-3, 0.05]))
    history = data.draw(st.lists(st.sampled_from([1.0, 0.5, 0.25, 2.0, float("nan")]), min_size=1, max_size=14))
    _, theirs = grouped(rates)
    scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(
        theirs,
        factor=factor,
        patience=patience,
        cooldown=cooldown,
        min_lr=floors,
        eps=eps,
        threshold=1e-4,
        threshold_mode="abs" if rule == "keras" else "rel",
    )
    for value in history:
        scheduler.step(value)
    subject, mine = grouped(rates)
    named = {f"learning_rate/{number}": floor for number, floor in enumerate(floors)}
    more = int(rule == "keras")
    callback = ReduceLROnPlateau(
        monitor="loss",
        factor=factor,
        patience=patience + more,
        cooldown=cooldown + more,
        min_lr=named,
        eps=eps,
        rule=rule,
    )
    scripted([{"loss": value} for value in history], callback, subject)

    assert rates_in(mine) == rates_in(theirs)


def test_a_group_that_is_not_named_has_no_floor() -> None:
    subject, optimizer = grouped([0.4, 0.4])
    scripted(
        [{"loss": 1.0}] * 4, ReduceLROnPlateau(monitor="loss", patience=1, factor=0.5, min_lr={NAME: 0.3}), subject
    )

    assert rates_in(optimizer) == [0.05, 0.3]


NAME = "learning_rate/1"


def test_only_the_named_groups_are_cut() -> None:
    """The others keep their rate, and a rate at its floor is not cut."""
    subject, optimizer = grouped([0.4, 0.4, 0.4])
    callback = ReduceLROnPlateau(monitor="loss", patience=1, factor=0.5, groups=["learning_rate/2", NAME], min_lr=0.15)
    run, decided = scripted([{"loss": 1.0}] * 5, callback, subject)

    assert rates_in(optimizer) == [0.4, 0.15, 0.15]
    assert [epoch for epoch, _ in decided] == [1, 2]  # then no group may be cut
    assert run.failures == []


def test_only_the_groups_that_may_be_cut_count_as_reducible() -> None:
    """A group that is left out, or whose cut would be below eps, begins no cooldown."""
    subject, optimizer = grouped([0.4, 1e-3])
    callback = ReduceLROnPlateau(monitor="loss", patience=1, factor=0.5, groups=[NAME], eps=1e-3)
    _, decided = scripted([{"loss": 1.0}] * 5, callback, subject)

    assert (decided, rates_in(optimizer)) == ([], [0.4, 1e-3])


@pytest.mark.parametrize("name", ["learning_rate", "1", "learning_rate_1", "lr/1", "learning_rate/2", "head"])
@pytest.mark.parametrize("option", ["groups", "min_lr"])
def test_a_name_that_no_rate_has_is_refused_before_training(option: str, name: str) -> None:
    """With the names that there are."""
    subject, _ = grouped([0.4, 0.4])
    options: dict[str, Any] = {"groups": [name]} if option == "groups" else {"min_lr": {name: 0.1}}
    with pytest.raises(SettingsError) as raised:
        Run(subject, [ReduceLROnPlateau(**options)])

    assert f"ReduceLROnPlateau: {option}: {name!r} is not a learning rate" in str(raised.value)
    assert "learning rates: learning_rate/0, learning_rate/1" in str(raised.value)


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"min_lr": [0.1, 0.2]}, "give a number, or a mapping from names of learning rates to numbers"),
        ({"min_lr": "0.1"}, "give a number, or a mapping"),
        ({"min_lr": True}, "give a number, or a mapping"),
        ({"min_lr": {}}, "give names of learning rates, each with its lower bound"),
        ({"min_lr": {"a": -1}}, "give a finite number of at least 0"),
        ({"min_lr": {1: 0.1}}, "give names of learning rates, each with its lower bound"),
        ({"groups": NAME}, "give a list of names"),
        ({"groups": []}, "give a list of names of learning rates; leave it out to cut all of them"),
        ({"groups": [NAME, NAME]}, "a name is given twice"),
        ({"groups": [1]}, "give names of learning rates as text"),
        ({"groups": [NAME], "min_lr": {"learning_rate/0": 0.1}}, "min_lr names 'learning_rate/0', which groups leaves"),
        ({"eps": -1e-8}, "give a number of at least 0"),
    ],
)
def test_options_that_have_no_meaning_are_refused(options: Any, why: str) -> None:
    with pytest.raises(SettingsError, match="ReduceLROnPlateau: ") as raised:
        ReduceLROnPlateau(**options)

    assert why in str(raised.value)


def test_the_order_of_groups_has_no_effect() -> None:
    """So a resumed run may list them in another one."""
    one, other = (ReduceLROnPlateau(groups=names) for names in (["a", "b"], ["b", "a"]))

    assert one.effective_settings() == other.effective_settings()
    assert hash(ReduceLROnPlateau(min_lr={"a": 0.1})) == hash(ReduceLROnPlateau(min_lr={"a": 0.1}))


# --- PyTorch's rule and its threshold


@pytest.mark.parametrize("delta", [1, 1.5, -3])
def test_the_threshold_of_torch_is_a_fraction(delta: float) -> None:
    """Its min_delta is relative by default, so one of 1 or more is meant as a difference."""
    with pytest.raises(
        SettingsError, match=r"rule='torch': its min_delta is a fraction, but .* min_delta_mode=\"abs\""
    ):
        ReduceLROnPlateau(rule="torch", min_delta=delta)
    assert not ReduceLROnPlateau(rule="torch", min_delta=delta, min_delta_mode="abs").relative
    assert not ReduceLROnPlateau(min_delta=delta).relative


@pytest.mark.parametrize(
    ("one", "other", "equal"),
    [
        ({"rule": "torch"}, {"rule": "torch", "min_delta_mode": "rel"}, True),
        ({"rule": "torch"}, {"rule": "torch", "min_delta_mode": "abs"}, False),
        ({"min_delta_mode": "abs"}, {}, True),
        ({"patience": 0}, {"patience": 1}, True),
        ({"patience": 0, "rule": "torch"}, {"patience": 1, "rule": "torch"}, False),
        ({"cooldown": 0, "rule": "torch"}, {"cooldown": 1, "rule": "torch"}, False),
        ({"rule": "torch", "min_delta_mode": "abs"}, {"rule": "keras"}, False),
    ],
)
def test_effective_settings_of_both_rules(one: Any, other: Any, equal: bool) -> None:
    """What decides the same is equal; a state of one rule does not fit the other."""
    first, second = ReduceLROnPlateau(**one), ReduceLROnPlateau(**other)
    assert (first.effective_settings() == second.effective_settings()) == equal
    same_rule = one.get("rule", "keras") == other.get("rule", "keras")
    assert first.compatible_with(second.effective_settings()) == same_rule


rates_of = st.dictionaries(st.sampled_from(["a", "b", "c"]), st.floats(1e-6, 10), min_size=1)


@given(
    rates=rates_of,
    factor=st.floats(0.01, 0.99),
    eps=st.sampled_from([0.0, 1e-8, 0.01, 0.5, 20.0]),
    min_lr=st.floats(0, 10) | rates_of,
)
def test_it_is_said_that_no_cut_changes_a_rate_exactly_if_none_does(
    rates: dict[str, float], factor: float, eps: float, min_lr: Any
) -> None:
    """Whether min_lr, eps, or both hold it; the line names what holds the highest rate that is above its floor."""
    callback = ReduceLROnPlateau(patience=1, factor=factor, eps=eps, min_lr=min_lr)
    floors = {name: min_lr.get(name, 0.0) if isinstance(min_lr, dict) else min_lr for name in rates}
    cuts = {name: rate - max(rate * factor, floors[name]) for name, rate in rates.items() if rate > floors[name]}
    reason = callback.idle_reason(PlannedTraining(range(9), learning_rates=rates))

    assert bool(reason) == all(change <= eps for change in cuts.values())
    if reason:
        assert ("eps is" in reason, "min_lr is" in reason) == (bool(cuts), not cuts)
