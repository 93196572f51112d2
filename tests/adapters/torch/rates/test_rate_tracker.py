"""The recorded learning rate is that of the epoch's first update, and a change of it acts or is reported."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.optim import SGD, Adam, Optimizer, lr_scheduler

from trainbus import LoopError, Run, decision, hookimpl
from trainbus.adapters.torch import TorchSubject
from trainbus.adapters.torch.rates.rate_tracker import HOLDS
from trainbus.plugins import ModelCheckpoint, ReduceLROnPlateau

from .test_learning_rates import SCHEDULERS

pytestmark = pytest.mark.filterwarnings("ignore:Detected call of `lr_scheduler.step", "ignore:The epoch parameter in")


def model_and_optimizer(rate: Any = 0.1) -> tuple[nn.Module, SGD]:
    torch.manual_seed(0)
    model = nn.Linear(1, 1)
    return model, SGD(model.parameters(), lr=rate, momentum=0.9)


def update(model: nn.Module, optimizer: Any) -> None:
    optimizer.zero_grad()
    model(torch.ones(2, 1)).pow(2).mean().backward()
    optimizer.step()


class Training:
    """A training of 3 epochs of 4 batches, in which a scheduler steps at some place; it records the rates that acted.

    Args:
        scheduler: Makes the scheduler.
        where: Where it steps: "epoch begin", "batch begin", "batch end" or "epoch end".
        accumulate: Batches to one update.
    """

    def __init__(self, scheduler: Callable[[Optimizer], Any], where: str, accumulate: int = 1, rate: Any = 0.1) -> None:
        self.model, self.optimizer = model_and_optimizer(rate)
        self.scheduler = scheduler(self.optimizer)
        self.where, self.accumulate = where, accumulate
        self.acted: dict[int, float] = {}

    def run(self, *, save: bool = False, end_at: int = 99, resume: Path | None = None) -> Run:
        subject = TorchSubject(self.model, self.optimizer, scheduler=self.scheduler)
        saver = ModelCheckpoint("run/{step}", save_freq=1, background=False)
        step = {place: self.scheduler.step if place == self.where else lambda: None for place in PLACES}
        with Run(subject, [saver] if save else [], resume=resume) as run:
            for epoch in run.epochs(3):
                step["epoch begin"]()
                for batch in run.batches(range(4), accumulate=self.accumulate):
                    if run.step >= end_at:
                        raise InterruptedError
                    step["batch begin"]()
                    if (batch + 1) % self.accumulate == 0:
                        self.acted.setdefault(epoch, float(self.optimizer.param_groups[0]["lr"]))
                        update(self.model, self.optimizer)
                    step["batch end"]()
                    run.log(loss=1.0)
                step["epoch end"]()
        return run


PLACES = ("epoch begin", "batch begin", "batch end", "epoch end")


@pytest.mark.covering(2)
@pytest.mark.parametrize("where", PLACES)
@pytest.mark.parametrize("name", ["LambdaLR", "OneCycleLR", "CosineAnnealingLR", "StepLR", "SequentialLR"])
@pytest.mark.parametrize("accumulate", [1, 2])
@pytest.mark.parametrize("tensor", [False, True], ids=["number", "tensor"])
def test_the_rate_of_an_epoch_is_that_of_its_first_update(name: str, where: str, accumulate: int, tensor: bool) -> None:
    """Wherever the scheduler steps, also before the first update of the epoch and between batches without one."""
    training = Training(SCHEDULERS[name], where, accumulate, torch.tensor(0.1) if tensor else 0.1)
    run = training.run()

    assert run.history["learning_rate"] == pytest.approx(list(training.acted.values()), abs=0, rel=1e-12)
    assert run.result.learning_rates == {"learning_rate": run.history["learning_rate"]}


@pytest.mark.covering(1)
@pytest.mark.parametrize("where", PLACES[1:])  # a step at an epoch's begin is made again when the epoch is continued
@pytest.mark.parametrize("name", ["LambdaLR", "OneCycleLR", "ExponentialLR"])
@pytest.mark.parametrize("step", [1, 2, 4, 5, 7, 11])
def test_a_resume_in_mid_epoch_keeps_the_rate_of_the_first_update(name: str, where: str, step: int) -> None:
    """It is not the rate at the resume."""
    with pytest.raises(InterruptedError):
        Training(SCHEDULERS[name], where).run(save=True, end_at=step)
    (path,) = Path("run").glob(f"{step}.pt")
    resumed = Training(SCHEDULERS[name], where).run(resume=path)

    assert resumed.history["learning_rate"] == Training(SCHEDULERS[name], where).run().history["learning_rate"]


def test_a_loop_that_states_its_events_gets_the_rate_before_a_cut() -> None:
    """Whether it steps its scheduler, or decides a cut, before it ends the epoch."""
    model, optimizer = model_and_optimizer()
    run = Run(TorchSubject(model, optimizer))
    run.begin()
    for epoch in range(3):
        run.begin_epoch(epoch)
        for batch in range(2):
            run.begin_batch(batch)
            update(model, optimizer)
            run.end_batch(batch)
        run.decide(decision.scale_learning_rate(0.5))
        run.end_epoch({"loss": 1.0})
    run.end()

    assert run.history["learning_rate"] == [0.1, 0.05, 0.025]


def test_each_of_several_optimizers_has_the_rate_of_its_own_first_update() -> None:
    """A second loop over batches in the epoch changes nothing."""
    model, first = model_and_optimizer()
    second = Adam(nn.Linear(1, 1).parameters(), lr=1.0)
    with Run(TorchSubject(model, {"first": first, "second": second})) as run:
        for _ in run.epochs(1):
            for _ in run.batches(range(2)):
                update(model, first)
                first.param_groups[0]["lr"] = second.param_groups[0]["lr"] = 0.01
            for _ in run.batches(range(2)):
                second.step()
                second.param_groups[0]["lr"] = 0.001

    assert run.history == {"learning_rate/first": [0.1], "learning_rate/second": [0.01]}


def test_an_epoch_without_updates_has_the_rate_of_its_beginning() -> None:
    """As if gradients were infinite in every batch."""
    model, optimizer = model_and_optimizer()
    with Run(TorchSubject(model, optimizer)) as run:
        for _ in run.epochs(2):
            for _ in run.batches(range(2)):
                optimizer.param_groups[0]["lr"] *= 0.5

    assert run.history["learning_rate"] == [0.1, 0.025]


@pytest.mark.parametrize("error", [None, ZeroDivisionError(), LoopError()])
def test_nothing_is_noted_after_a_run(error: Exception | None) -> None:
    """Neither after its last epoch nor after one that an error has left, whose traceback a notebook keeps."""
    model, optimizer = model_and_optimizer()
    with suppress(ZeroDivisionError, LoopError), Run(TorchSubject(model, optimizer)) as run:
        for _ in run.epochs(2):
            for _ in run.batches(range(2)):
                update(model, optimizer)
                if isinstance(error, ZeroDivisionError):
                    raise error
                if error is not None:
                    update(model, Adam(model.parameters()))

    assert not HOLDS
    update(model, Adam(model.parameters()))


# --- changes that do not act


class Cutting:
    """A training in which the rate is cut at the end of an epoch.

    Args:
        scheduler: Makes the scheduler, which steps after each batch.
        given: Whether the subject knows the scheduler.
        set_rate: Called with the optimizer and the number of the epoch, after the epoch began.
    """

    def __init__(
        self,
        scheduler: Callable[[Any], Any] | None = None,
        set_rate: Callable[[Any, int], object] = lambda optimizer, epoch: None,
    ) -> None:
        self.model, self.optimizer = model_and_optimizer()
        self.scheduler = scheduler(self.optimizer) if scheduler is not None else None
        self.set_rate = set_rate

    def run(self, factor: float = 0.1, epochs: int = 5, cut_after: int = 1) -> Run:
        with Run(TorchSubject(self.model, self.optimizer, scheduler=self.scheduler)) as run:
            for epoch in run.epochs(epochs):
                self.set_rate(self.optimizer, epoch)
                for _ in run.batches(range(3)):
                    update(self.model, self.optimizer)
                    if self.scheduler is not None:
                        self.scheduler.step()
                if epoch == cut_after:
                    run.decide(decision.scale_learning_rate(factor))
        return run


def write(rate: float) -> Callable[[Any, int], object]:
    return lambda optimizer, epoch: optimizer.param_groups[0].update(lr=rate)


SCHEDULES: dict[str, Callable[[Any], Any]] = {
    "ExponentialLR": lambda optimizer: lr_scheduler.ExponentialLR(optimizer, 0.98),
    "OneCycleLR": lambda optimizer: lr_scheduler.OneCycleLR(optimizer, 0.3, total_steps=20),
    "LambdaLR": lambda optimizer: lr_scheduler.LambdaLR(optimizer, lambda step: 1 / (1 + 0.01 * step)),
}

UNDONE: dict[str, Callable[[Any, int], object]] = {
    "the same rate each epoch": write(0.1),
    "a higher rate": write(0.2),
    "a decay of its own": lambda optimizer, epoch: write(0.1 * 0.97**epoch)(optimizer, epoch),
    "steps of its own": lambda optimizer, epoch: write(0.1 if epoch < 4 else 0.05)(optimizer, epoch),
    "only in the second epoch after it": lambda optimizer, epoch: epoch == 3 and write(0.1)(optimizer, epoch),
    "only in the third epoch after it": lambda optimizer, epoch: epoch == 4 and write(0.1)(optimizer, epoch),
    "new groups": lambda optimizer, epoch: setattr(
        optimizer, "param_groups", [{**group, "lr": 0.1} for group in optimizer.param_groups]
    ),
}


@pytest.mark.parametrize("name", UNDONE)
def test_a_cut_that_the_loop_undoes_is_reported_once(name: str, caplog: pytest.LogCaptureFixture) -> None:
    """In one line that names the rates and what to do."""
    run = Cutting(set_rate=UNDONE[name]).run()
    (failure,) = run.failures

    assert (failure.plugin, failure.lost) == ("loop", "a change of the learning rate was undone")
    assert "the loop sets it" in str(failure)
    assert "in epoch 2, but epoch" in str(failure)
    (line,) = [each.getMessage() for each in caplog.records if each.name == "trainbus"]
    assert "\n" not in line


@pytest.mark.parametrize("name", [*SCHEDULES, "CosineAnnealingLR", "CosineAnnealingWarmRestarts"])
@pytest.mark.parametrize("back_at", [None, 9, 14])
@pytest.mark.covering(1)
def test_a_given_schedule_is_followed_for_the_whole_run(name: str, back_at: int | None) -> None:
    """Also down to 0 and up again; a rate that is set back many epochs after the cut is reported."""

    def set_rate(optimizer: Any, epoch: int) -> None:
        if epoch == back_at:
            write(0.3)(optimizer, epoch)

    schedules = {
        **SCHEDULES,
        "OneCycleLR": lambda optimizer: lr_scheduler.OneCycleLR(optimizer, 0.3, total_steps=60),
        "CosineAnnealingLR": lambda optimizer: lr_scheduler.CosineAnnealingLR(optimizer, 60),
        "CosineAnnealingWarmRestarts": lambda optimizer: lr_scheduler.CosineAnnealingWarmRestarts(optimizer, 9),
    }
    run = Cutting(schedules[name], set_rate).run(epochs=19)

    assert len(run.failures) == (back_at is not None)


class CutsAtEnd:
    """A plugin that cuts the rate at the end of epochs."""

    def __init__(self, cuts: dict[int, float]) -> None:
        self.cuts = cuts

    @hookimpl
    def on_epoch_end(self, epoch: int) -> Any:
        return decision.scale_learning_rate(self.cuts[epoch]) if epoch in self.cuts else None


def cutting_run(
    set_rate: Callable[[Any, int], object],
    scheduler: Callable[[Any], Any] | None,
    cuts: dict[int, float],
    *,
    save_freq: Any,
    end_at: tuple[int, int] = (99, 0),
    resume: Any = None,
) -> list[str]:
    """Return what a run reports that is interrupted at a batch of an epoch."""
    model, optimizer = model_and_optimizer()
    schedule = scheduler(optimizer) if scheduler is not None else None
    saver = ModelCheckpoint("run/{step}", save_freq=save_freq, background=False)
    subject = TorchSubject(model, optimizer, scheduler=schedule)
    run = Run(subject, [CutsAtEnd(cuts), saver], resume=resume)
    with suppress(InterruptedError), run:
        for epoch in run.epochs(5):
            set_rate(optimizer, epoch)
            for batch in run.batches(range(3)):
                if (epoch, batch) == end_at:
                    raise InterruptedError
                update(model, optimizer)
                if schedule is not None:
                    schedule.step()
                run.log(loss=1.0)
    return [str(each) for each in run.failures]


PLACES_OF_STOPS = [
    ("epoch", (3, 0)),
    (1, (2, 1)),
    *(pytest.param("epoch", place, marks=pytest.mark.exhaustive) for place in [(2, 0), (2, 1), (3, 2), (4, 0)]),
    *(pytest.param(1, place, marks=pytest.mark.exhaustive) for place in [(2, 2), (3, 0), (3, 2), (4, 0)]),
]


@pytest.mark.covering(1)
@pytest.mark.parametrize(("save_freq", "end_at"), PLACES_OF_STOPS)
@pytest.mark.parametrize(
    ("scheduler", "name", "cuts"),
    [
        (None, "the same rate each epoch", {1: 0.1}),
        (None, "the same rate each epoch", {1: 0.1, 2: 0.1}),
        (None, "a decay of its own", {1: 0.1}),
        (None, "only in the second epoch after it", {1: 0.1}),
        (None, "only in the third epoch after it", {1: 0.1}),
        (None, "nothing else", {1: 0.1, 2: 0.5}),
        ("ExponentialLR", "nothing else", {1: 0.1}),
        ("ExponentialLR", "nothing else", {1: 0.9, 2: 0.9}),
        ("ExponentialLR", "the same rate each epoch", {1: 0.1}),
        ("OneCycleLR", "nothing else", {1: 0.5}),
        ("LambdaLR", "only in the second epoch after it", {1: 0.1}),
    ],
)
def test_a_resumed_run_reports_an_undone_cut_as_the_unbroken_one(
    scheduler: str | None, name: str, cuts: dict[int, float], end_at: tuple[int, int], save_freq: Any
) -> None:
    """Wherever it was interrupted after the cut: the same line, once; and nothing of a cut that acts."""
    set_rate = {"nothing else": lambda *_: None, **UNDONE}[name]
    made = None if scheduler is None else SCHEDULES[scheduler]
    unbroken = cutting_run(set_rate, made, cuts, save_freq=save_freq)
    shutil.rmtree("run")
    first = cutting_run(set_rate, made, cuts, save_freq=save_freq, end_at=end_at)
    second = cutting_run(set_rate, made, cuts, save_freq=save_freq, resume="auto")

    assert list(dict.fromkeys(first + second)) == unbroken
    assert bool(unbroken) == (name != "nothing else")


KEPT: dict[str, Callable[[Any, int], object]] = {
    "nothing else": lambda optimizer, epoch: None,
    "a loop that decays the present rate": lambda optimizer, epoch: write(optimizer.param_groups[0]["lr"] * 0.9)(
        optimizer, epoch
    ),
    "a loop that raises the present rate a little": lambda optimizer, epoch: write(
        optimizer.param_groups[0]["lr"] * 1.2
    )(optimizer, epoch),
    "a loop that cuts once more": lambda optimizer, epoch: epoch == 2 and write(0.001)(optimizer, epoch),
}


@pytest.mark.parametrize("name", KEPT)
def test_a_cut_that_acts_is_not_reported(name: str) -> None:
    """Nor one that the loop builds on."""
    assert Cutting(set_rate=KEPT[name]).run().failures == []


@pytest.mark.parametrize("name", SCHEDULERS)
@given(factor=st.sampled_from([0.1, 0.5, 0.9]), cut_after=st.integers(0, 3))
def test_a_given_schedule_that_raises_the_rate_undoes_no_cut(name: str, factor: float, cut_after: int) -> None:
    """Rates are compared with the schedule scaled by the cut: those of warm-up, cycles and restarts may be above it."""
    assert Cutting(SCHEDULERS[name]).run(factor, cut_after=cut_after).failures == []


SET_BACK = sorted(set(SCHEDULERS) - {"StepLR", "ExponentialLR", "MultiplicativeLR"})


@pytest.mark.parametrize(
    "name",
    [
        *SET_BACK[::4],
        *(pytest.param(each, marks=pytest.mark.exhaustive) for each in SET_BACK if each not in SET_BACK[::4]),
    ],
)
def test_a_schedule_that_is_set_back_is_reported(name: str) -> None:
    """Someone who restores the values that a scheduler stored at its start undoes the cut, though the rate may fall."""
    training = Cutting(SCHEDULERS[name])
    plain = Cutting(SCHEDULERS[name])
    plain_rates = plain.run(1.0).history["learning_rate"]
    training.set_rate = lambda optimizer, epoch: epoch == 2 and write(plain_rates[2])(optimizer, epoch)

    assert len(training.run(0.1).failures) == 1


def test_a_scheduler_that_appears_after_the_cut_is_named() -> None:
    """It was not there when the run began, and sets every rate by itself."""
    made: list[Any] = []

    def appear(optimizer: Any, epoch: int) -> None:
        if epoch == 2:
            optimizer.param_groups[0]["initial_lr"] = 0.1
            made.append(lr_scheduler.LambdaLR(optimizer, lambda step: 1.0))

    (failure,) = Cutting(set_rate=appear).run().failures

    assert "LambdaLR, which was not given, sets it; give it: TorchSubject(model, optimizer, scheduler=" in str(failure)


def test_a_plateau_is_named_as_the_one_that_cut() -> None:
    """The line begins with the callback that asked for the cut."""
    model, optimizer = model_and_optimizer()
    with Run(TorchSubject(model, optimizer), ReduceLROnPlateau(monitor="loss", mode="min", patience=1)) as run:
        for _ in run.epochs(5):
            optimizer.param_groups[0]["lr"] = 0.1
            for _ in run.batches(range(2)):
                update(model, optimizer)
                run.log(loss=1.0)

    assert [each.plugin for each in run.failures] == ["ReduceLROnPlateau"]


@pytest.mark.parametrize("kind", [lr_scheduler.StepLR, lr_scheduler.CosineAnnealingLR, lr_scheduler.PolynomialLR])
def test_a_plateau_that_a_new_scheduler_would_undo_is_reported_and_trains_on(kind: Any) -> None:
    """The scheduler was not there when the run checked its callbacks, and hours of training are not lost for it."""
    model, optimizer = model_and_optimizer()
    with Run(TorchSubject(model, optimizer), ReduceLROnPlateau(monitor="loss", mode="min", patience=1)) as run:
        made: list[Any] = []
        for epoch in run.epochs(5):
            made += [kind(optimizer, 100)] if not epoch else []
            for _ in run.batches(range(2)):
                update(model, optimizer)
                run.log(loss=1.0)
    (failure,) = run.failures

    assert (failure.plugin, failure.lost) == ("ReduceLROnPlateau", "the learning rate is not changed")
    assert "give it: TorchSubject(model, optimizer, scheduler=scheduler)" in str(failure)
    assert run.result.decisions == ()
    assert len(set(run.history["learning_rate"])) == 1


# --- optimizers that the script replaces


def replaced(
    model: nn.Module, first: Any, make: Callable[[], Any], say: bool = False, scheduler: Any = None
) -> Iterator[tuple[Run, Any]]:
    optimizer = first
    with Run(TorchSubject(model, first), ReduceLROnPlateau(monitor="loss", mode="min", patience=1)) as run:
        for epoch in run.epochs(4):
            if epoch == 2:
                optimizer = make()
                if say:
                    subject: Any = run.subject
                    subject.replace(optimizer, scheduler=scheduler)
            for _ in run.batches(range(2)):
                update(model, optimizer)
                run.log(loss=1.0)
            yield run, optimizer


@pytest.mark.parametrize(
    "make",
    [
        lambda model: SGD(model.parameters(), lr=0.5),
        lambda model: Adam(model.parameters(), lr=0.5),
        lambda model: Adam([model.weight], lr=0.5),
        lambda model: SGD([{"params": [model.weight]}, {"params": [model.bias], "lr": 0.1}], lr=0.5),
        lambda model: torch.optim.AdamW([*model.parameters(), nn.Parameter(torch.ones(1))], lr=0.5),
    ],
)
def test_an_optimizer_that_is_replaced_unsaid_is_an_error_before_its_first_update(make: Callable[[Any], Any]) -> None:
    """Checkpoints would hold the old one's state, and cuts would change the old one's rate."""
    model, optimizer = model_and_optimizer()
    weights = [each.detach().clone() for each in model.parameters()]

    def changed() -> Any:
        weights[:] = [each.detach().clone() for each in model.parameters()]
        return make(model)

    with pytest.raises(LoopError, match=r"call run.subject.replace\(optimizer\) first"):
        list(replaced(model, optimizer, changed))
    assert all(torch.equal(one, other) for one, other in zip(weights, model.parameters(), strict=True))


def test_an_optimizer_that_is_replaced_and_said_goes_on() -> None:
    """Its rates are recorded and cut."""
    model, optimizer = model_and_optimizer()
    *_, (run, new) = replaced(model, optimizer, lambda: Adam(model.parameters(), lr=0.5), say=True)

    assert run.history["learning_rate"] == pytest.approx([0.1, 0.1, 0.5, 0.05])
    assert new.param_groups[0]["lr"] == pytest.approx(0.005)
    assert run.failures == []


def test_a_checkpoint_after_a_replacement_holds_the_new_optimizer_and_scheduler() -> None:
    """And none of the old ones."""
    model, optimizer = model_and_optimizer()
    subject = TorchSubject(model, optimizer, scheduler=lr_scheduler.StepLR(optimizer, 1))
    new = Adam(model.parameters(), lr=0.5)
    subject.replace({"adam": new}, scheduler=lr_scheduler.ExponentialLR(new, 0.5))
    subject.save("m.pt", weights_only=False)

    classes = torch.load("m.pt", weights_only=True)["trainbus"]["classes"]
    assert classes == {"optimizers": {"adam": "Adam"}, "schedulers": {"scheduler": "ExponentialLR"}}
    subject.replace(new)
    assert subject.schedulers == {}


class Warmup(lr_scheduler.LRScheduler):
    """A scheduler that passes its steps to another one after three of its own, as those of some packages do."""

    def __init__(self, optimizer: Any, then: Any) -> None:
        self.then = then
        super().__init__(optimizer)

    def get_lr(self) -> Any:
        return [rate * (self.last_epoch + 1) / 4 for rate in self.base_lrs]

    def step(self, epoch: Any = None) -> None:
        if self.last_epoch < 3:
            super().step(epoch)
        else:
            self.then.step()


STEPS: dict[str, Callable[[Any], Any]] = {
    "StepLR": lambda optimizer: lr_scheduler.StepLR(optimizer, 2),
    "ExponentialLR": lambda optimizer: lr_scheduler.ExponentialLR(optimizer, 0.9),
    "LambdaLR": lambda optimizer: lr_scheduler.LambdaLR(optimizer, lambda step: 1 / (1 + step)),
    "CosineAnnealingLR": lambda optimizer: lr_scheduler.CosineAnnealingLR(optimizer, 40),
    "OneCycleLR": lambda optimizer: lr_scheduler.OneCycleLR(optimizer, 0.3, total_steps=99),
    "ReduceLROnPlateau": lr_scheduler.ReduceLROnPlateau,
    "ConstantLR": lambda optimizer: lr_scheduler.ConstantLR(optimizer, 0.5, 99),
    "SequentialLR": lambda optimizer: lr_scheduler.SequentialLR(
        optimizer, [lr_scheduler.LinearLR(optimizer), lr_scheduler.ExponentialLR(optimizer, 0.9)], [2]
    ),
    "Warmup": lambda optimizer: Warmup(optimizer, lr_scheduler.ExponentialLR(optimizer, 0.9)),
    "none": lambda optimizer: None,
}


def step(scheduler: Any) -> None:
    if isinstance(scheduler, lr_scheduler.ReduceLROnPlateau):
        scheduler.step(1.0)
    elif scheduler is not None:
        scheduler.step()


def with_schedulers(
    first: str, second: str | None, at: int = 2, *, every: str = "epoch", say: bool = False, keep: bool = False
) -> Run:
    """Train 9 epochs; the script makes the second scheduler in place of the first one in epoch ``at``."""
    model, optimizer = model_and_optimizer()
    scheduler = given = STEPS[first](optimizer)
    subject = TorchSubject(model, optimizer, scheduler=scheduler)
    with Run(subject) as run:
        for epoch in run.epochs(9):
            if epoch == at and second is not None:
                scheduler = STEPS[second](optimizer)
                if say:
                    subject.replace(optimizer, scheduler=scheduler)
            for _ in run.batches(range(2)):
                update(model, optimizer)
                if every == "batch":
                    step(scheduler)
            if every == "epoch":
                step(scheduler)
            if keep:
                step(given)
    return run


def replacements(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [each.getMessage() for each in caplog.records if "was not given" in each.getMessage()]


@pytest.mark.covering(1)
@pytest.mark.parametrize("every", ["epoch", "batch"])
@pytest.mark.parametrize(
    ("first", "second", "at"),
    [
        ("StepLR", "CosineAnnealingLR", 2),
        ("StepLR", "StepLR", 1),
        ("CosineAnnealingLR", "OneCycleLR", 4),
        ("LambdaLR", "ExponentialLR", 0),
        ("ReduceLROnPlateau", "LambdaLR", 3),
        ("ExponentialLR", "ReduceLROnPlateau", 2),
        ("SequentialLR", "ConstantLR", 2),
        ("Warmup", "SequentialLR", 2),
        ("none", "StepLR", 2),
        ("none", "ExponentialLR", 0),
    ],
)
def test_a_scheduler_that_is_replaced_unsaid_is_reported_once(
    first: str, second: str, at: int, every: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Checkpoints would hold the old one's state, and the new one may undo a cut."""
    with_schedulers(first, second, at, every=every)

    (line,) = replacements(caplog)
    assert line.startswith(f"{second}, which was not given, ")
    assert "call run.subject.replace(optimizer, scheduler=scheduler)" in line
    assert "\n" not in line


@pytest.mark.parametrize("first", STEPS)
@pytest.mark.parametrize("second", [None, "StepLR", "SequentialLR"])
@pytest.mark.covering(1)
def test_a_scheduler_that_is_replaced_and_said_is_not_reported(
    first: str, second: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    """Nor one that is not replaced, whatever it holds."""
    with_schedulers(first, second, say=True)

    assert replacements(caplog) == []


def test_a_scheduler_beside_the_given_one_or_of_another_optimizer_is_not_reported(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The given one steps, too; or the other one has an optimizer that the subject does not know."""
    with_schedulers("StepLR", "ExponentialLR", keep=True)
    others = [lr_scheduler.ExponentialLR(SGD(nn.Linear(1, 1).parameters(), lr=0.1), 0.9)]
    model, optimizer = model_and_optimizer()
    with Run(TorchSubject(model, optimizer, scheduler=lr_scheduler.StepLR(optimizer, 99))) as run:
        for _ in run.epochs(6):
            for _ in run.batches(range(2)):
                update(model, optimizer)
            others[0].step()

    assert replacements(caplog) == []


@pytest.mark.parametrize("frozen", [False, True])
def test_an_optimizer_of_other_parameters_may_train(frozen: bool) -> None:
    """Such as a critic that the subject was not given, or weights of the model that its optimizer does not have."""
    model, optimizer = model_and_optimizer()
    other = SGD([model.bias] if frozen else nn.Linear(1, 1).parameters(), lr=0.1)  # type: ignore[arg-type, list-item]
    if frozen:
        optimizer = SGD([model.weight], lr=0.1)  # type: ignore[list-item]
    with Run(TorchSubject(model, optimizer)) as run:
        for _ in run.epochs(2):
            for _ in run.batches(range(2)):
                update(model, optimizer)
                other.step()

    assert run.step == 4


class Lookahead(Optimizer):
    """An optimizer around another one, with a state of its own, as libraries have it."""

    def __init__(self, optimizer: Optimizer) -> None:
        self.optimizer = optimizer
        super().__init__(optimizer.param_groups, {})
        self.param_groups = optimizer.param_groups

    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        self.optimizer.step()


class Sharding(Optimizer):
    """An optimizer that makes another one for its part of the parameters, with groups of its own."""

    def __init__(self, parameters: Any) -> None:
        super().__init__(parameters, {"lr": 0.1})
        self.optim = SGD(self.param_groups[0]["params"], lr=0.1)

    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        self.optim.step()


class Chained(Optimizer):
    """An optimizer that passes its updates on to several."""

    def __init__(self, parameters: Any) -> None:
        super().__init__(parameters, {"lr": 0.1})
        self.optimizers = [SGD([each], lr=0.1) for each in self.param_groups[0]["params"]]

    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        for each in self.optimizers:
            each.step()


@pytest.mark.parametrize(
    "make",
    [
        lambda model: Lookahead(SGD(model.parameters(), lr=0.1)),
        lambda model: Sharding(model.parameters()),
        lambda model: Chained(model.parameters()),
    ],
)
def test_an_optimizer_inside_the_subjects_one_may_train(make: Callable[[Any], Any]) -> None:
    """It is not taken for a replacement."""
    model, _ = model_and_optimizer()
    optimizer = make(model)
    with Run(TorchSubject(model, optimizer)) as run:
        for _ in run.epochs(2):
            for _ in run.batches(range(2)):
                update(model, optimizer)

    assert run.history["learning_rate"] == [0.1, 0.1]
