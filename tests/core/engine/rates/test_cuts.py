"""The cuts of a run apply to the rates that a schedule asks for, and no schedule compounds them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainbus import Run, SettingsError, decision, hookimpl
from trainbus.plugins import ModelCheckpoint
from trainbus.testing import LineSubject

rates = st.floats(1e-6, 1.0)


class TwoRates(LineSubject):
    """A subject with two learning rates."""

    def __init__(self, first: float = 0.4, second: float = 0.04) -> None:
        super().__init__()
        self.rates = {"learning_rate/first": first, "learning_rate/second": second}

    def learning_rates(self):
        return dict(self.rates)

    def set_learning_rates(self, rates):
        self.rates.update(rates)


def decided(subject: Any, *asked: Any) -> Run:
    """Let a loop decide one thing after the other."""
    with Run(subject, verbose=0) as run:
        for epoch in run.epochs(len(asked)):
            run.decide(asked[epoch])
    return run


@given(st.lists(st.floats(0.1, 0.9), max_size=4), rates)
def test_a_set_rate_has_all_cuts_before_it(factors: list[float], rate: float) -> None:
    """A schedule that sets 0.01 after a cut by 0.1 gives 0.001; the rate without cuts is what was asked for."""
    line = LineSubject(1.0)
    run = decided(line, *map(decision.scale_learning_rate, factors), decision.set_learning_rate(rate))

    product = 1.0
    for factor in factors:
        product *= factor
    assert line.learning_rate == rate * product
    assert run.learning_rates_without_cuts() == {"learning_rate": rate}


@given(rates, st.floats(0.1, 0.9), rates, rates)
def test_a_floor_is_a_lower_bound_of_cuts_only(first: float, factor: float, floor: float, rate: float) -> None:
    """A cut stops at its floor, also for rates that are set later; a schedule may ask for less than the floor."""
    line = LineSubject(first)
    decided(line, decision.scale_learning_rate(factor, floor=floor), decision.set_learning_rate(rate))

    cut = rate * factor if first > floor else rate
    assert line.learning_rate == max(cut, min(rate, floor) if first > floor else 0)


@given(st.lists(rates, min_size=1, max_size=3), st.lists(st.floats(0.1, 0.9), max_size=2), st.randoms())
def test_in_one_decision_rates_are_set_then_scaled(asked: list[float], factors: list[float], random: Any) -> None:
    """The lowest rate that is asked for, and the lowest that the cuts make of it, in any order."""
    words = [*map(decision.set_learning_rate, asked), *map(decision.scale_learning_rate, factors)]
    random.shuffle(words)
    joint = words[0]
    for each in words[1:]:
        joint |= each
    line = LineSubject(0.5)
    decided(line, joint)

    assert line.learning_rate == min(asked) * min(factors, default=1.0)


def test_each_name_has_a_rate_of_its_own() -> None:
    """Rates that are not named do not change; of a rate for all and one for a name, the lower wins."""
    subject = TwoRates()
    decided(subject, decision.set_learning_rate({"learning_rate/second": 0.5}))
    assert subject.rates == {"learning_rate/first": 0.4, "learning_rate/second": 0.5}
    decided(subject, decision.set_learning_rate({"learning_rate/second": 0.1}) | decision.set_learning_rate(0.2))
    assert subject.rates == {"learning_rate/first": 0.2, "learning_rate/second": 0.1}


def test_cuts_are_kept_for_each_rate() -> None:
    """A rate at its floor is not cut, so it is set to what is asked for."""
    subject = TwoRates(0.4, 0.04)
    run = decided(subject, decision.scale_learning_rate(0.5, floor=0.1), decision.set_learning_rate(1.0))

    assert subject.rates == {"learning_rate/first": 0.5, "learning_rate/second": 1.0}
    assert run.learning_rates_without_cuts() == dict.fromkeys(subject.rates, 1.0)


@pytest.mark.parametrize("name", ["learning_rate", "first", "learning_rate/frist", "lr"])
@pytest.mark.parametrize(
    "ask",
    [
        lambda name: decision.set_learning_rate({name: 0.1}),
        lambda name: decision.scale_learning_rate(0.1, groups=[name]),
        lambda name: decision.scale_learning_rate(0.1, floor={name: 0.1}),
    ],
    ids=["set", "groups", "floor"],
)
def test_an_unknown_rate_is_refused_with_the_names_there_are(ask: Any, name: str) -> None:
    with pytest.raises(SettingsError, match=rf"loop: '{name}' is not a learning rate.*learning_rate/first, learning_r"):
        decided(TwoRates(), ask(name))


def test_only_the_groups_of_a_cut_keep_it() -> None:
    """A cut of one group, with its own floor, applies to what is set of this group later."""
    subject = TwoRates(0.4, 0.4)
    cut = decision.scale_learning_rate(0.1, groups=["learning_rate/second"], floor={"learning_rate/second": 0.05})
    decided(subject, cut, decision.set_learning_rate(0.2))

    assert subject.rates == {"learning_rate/first": 0.2, "learning_rate/second": 0.05}


def test_what_the_loop_changes_itself_is_a_factor_of_the_rate_without_cuts() -> None:
    """A schedule of the loop continues from the present rate, as a scheduler of torch does."""
    line = LineSubject(0.5)
    with Run(line, verbose=0) as run:
        for _ in run.epochs(1):
            run.decide(decision.scale_learning_rate(0.5))
            line.learning_rate /= 5

    assert line.learning_rate == 0.05
    assert run.learning_rates_without_cuts() == {"learning_rate": 0.1}


def test_a_subject_without_rates_has_none_without_cuts() -> None:
    assert Run().learning_rates_without_cuts() == {}


def test_a_set_that_changes_nothing_is_not_recorded() -> None:
    """A constant schedule leaves no decision in each epoch."""
    run = decided(LineSubject(0.5), *[decision.set_learning_rate(0.5)] * 3, decision.set_learning_rate(0.25))

    assert [epoch for epoch, _ in run.result.decisions] == [3]


class Schedule:
    """A plugin that multiplies the rate without cuts in each epoch, and cuts it in some."""

    def __init__(self, cuts: tuple[int, ...] = (1, 3), hook: str = "on_epoch_begin") -> None:
        self.cuts, self.hook = cuts, hook
        self.given: list[float] = []

    @hookimpl
    def on_epoch_begin(self, run: Any) -> Any:
        return self._next(run, "on_epoch_begin")

    @hookimpl
    def on_batch_end(self, run: Any, epoch: int, batch: int) -> Any:
        cut = decision.scale_learning_rate(0.1) if batch == 1 and epoch in self.cuts else None
        asked = self._next(run, "on_batch_end")
        return cut | asked if cut and asked else cut or asked

    def _next(self, run: Any, hook: str) -> Any:
        if hook != self.hook:
            return None
        rate = run.learning_rates_without_cuts()["learning_rate"]
        self.given.append(rate)
        return decision.set_learning_rate(rate * 0.9)


def scheduled(
    cuts: tuple[int, ...], hook: str, end_at: int = 99, resume: str | None = None
) -> tuple[LineSubject, Schedule, Run]:
    line, plugin = LineSubject(0.5), Schedule(cuts, hook)
    saver = ModelCheckpoint("run/{step}", save_freq=end_at, background=False)
    with Run(line, [plugin, saver], verbose=0, resume=resume) as run:
        for _ in run.epochs(6):
            for _ in run.batches(range(3)):
                run.log(loss=1.0)
                if run.step >= end_at:
                    run.stop("far enough")
                    break
            if run.stopped:
                break
    return line, plugin, run


@pytest.mark.parametrize("hook", ["on_epoch_begin", "on_batch_end"])
def test_no_schedule_compounds_the_cuts(hook: str) -> None:
    """It is given the same rates with and without cuts, and the run trains with these times the product."""
    line, cut, _ = scheduled((1, 3), hook)
    plain, uncut, run = scheduled((), hook)

    assert cut.given == uncut.given
    assert line.learning_rate == pytest.approx(plain.learning_rate * 0.01)
    assert run.failures == []


@pytest.mark.covering(1)
@pytest.mark.parametrize("hook", ["on_epoch_begin", "on_batch_end"])
@pytest.mark.parametrize("end_at", [2, 4, 5, 6, 9, 11, 12, 16])
def test_the_cuts_survive_a_resume_also_in_the_middle_of_an_epoch(hook: str, end_at: int) -> None:
    """The rates, the decisions and what the schedule is given are those of the unbroken run."""
    unbroken, plugin, run = scheduled((1, 3), hook)
    scheduled((1, 3), hook, end_at)
    resumed, later, again = scheduled((1, 3), hook, resume=f"run/{end_at}.npz")

    assert resumed.learning_rate == unbroken.learning_rate
    assert again.history == run.history
    assert again.learning_rates_without_cuts() == run.learning_rates_without_cuts()
    assert [each for each in again.result.decisions if each[0] > end_at // 3] == [
        each for each in run.result.decisions if each[0] > end_at // 3
    ]
    # the hook is called once more for an epoch that is continued, and that answer is not executed
    assert later.given[1:] == plugin.given[len(plugin.given) - len(later.given) + 1 :]
    assert again.failures == []


@pytest.mark.parametrize(("source", "rate"), [("script", 0.25), ("checkpoint", 0.5)])
def test_a_rate_that_the_script_has_changed_keeps_the_cuts(source: Any, rate: float) -> None:
    """The new rate is cut as the old one was; without cuts it is what the script has set."""
    saver = ModelCheckpoint("run/{epoch}", background=False)
    with Run(LineSubject(0.5), [saver], verbose=0) as run:
        for epoch in run.epochs(2):
            run.log(loss=1.0)
            if epoch == 0:
                run.decide(decision.scale_learning_rate(0.1))
    line = LineSubject(0.25)
    with Run(line, [saver], verbose=0, resume="run/2.npz", resume_learning_rates=source) as run:
        for _ in run.epochs(3):
            run.log(loss=1.0)

    assert line.learning_rate == pytest.approx(rate / 10)
    assert run.learning_rates_without_cuts()["learning_rate"] == pytest.approx(rate)


def test_what_was_restored_keeps_the_cuts_of_the_run() -> None:
    """The snapshot has the rate before the cut; a schedule still gets its own rate, and the cut."""
    line = LineSubject(0.5)

    def snapshot() -> Any:
        return {**vars(line)}

    line.snapshot, line.restore = snapshot, lambda kept: vars(line).update(kept)  # type: ignore[method-assign]
    run = decided(
        line,
        decision.keep("early"),
        decision.scale_learning_rate(0.1),
        decision.restore("early"),
        decision.set_learning_rate(0.2),
    )

    assert line.learning_rate == pytest.approx(0.02)
    assert run.learning_rates_without_cuts() == {"learning_rate": 0.2}


@pytest.mark.parametrize("every", [1, 2, 3])
def test_something_else_that_changes_a_set_rate_is_reported_once(every: int) -> None:
    """The line names the plugin, both rates and both epochs; the schedule goes on."""
    line, plugin = LineSubject(0.5), Schedule(())
    with Run(line, [plugin], verbose=0) as run:
        for epoch in run.epochs(8):
            for _ in run.batches(range(2)):
                run.log(loss=1.0)
            if epoch % every == 0:
                line.learning_rate = 0.7

    (failure,) = run.failures
    assert failure.plugin == "Schedule"
    assert "learning_rate was set to 0.45 in epoch 1, but something else has changed it to 0.7 before ep" in str(
        failure
    )


@pytest.mark.parametrize("cut_at", ["on_epoch_end", "on_batch_end", "on_epoch_begin"])
@pytest.mark.parametrize("factor", [0.1, 0.5, 0.99])
def test_no_set_rate_is_taken_for_one_that_undoes_a_cut(cut_at: str, factor: float) -> None:
    """A schedule that jumps back up after a cut has the cut in it."""

    class Cutter:
        @hookimpl
        def on_epoch_begin(self, epoch: int) -> Any:
            # a warm restart: up in every third epoch
            asked = decision.set_learning_rate(0.5 * 0.1 ** (epoch % 3))
            return asked | decision.scale_learning_rate(factor) if cut_at == "on_epoch_begin" else asked

        @hookimpl
        def on_batch_end(self) -> Any:
            return decision.scale_learning_rate(factor) if cut_at == "on_batch_end" else None

        @hookimpl
        def on_epoch_end(self) -> Any:
            return decision.scale_learning_rate(factor) if cut_at == "on_epoch_end" else None

    line = LineSubject(0.5)
    with Run(line, [Cutter()], verbose=0) as run:
        for _ in run.epochs(9):
            for _ in run.batches(range(1)):
                run.log(loss=1.0)

    assert run.failures == []
    assert line.learning_rate == pytest.approx(0.5 * 0.01 * factor**9)
