"""Optimizers and schedulers are found in the wrappers of other libraries; those with a state of their own are kept."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.optim import SGD, Optimizer, lr_scheduler

from trainbus import Run, SettingsError, decision
from trainbus.adapters.torch import TorchSubject
from trainbus.adapters.torch.wrappers import drives, inner_optimizers, unwrapped_optimizer, unwrapped_scheduler
from trainbus.capabilities import HasLearningRate, missing
from trainbus.plugins import ReduceLROnPlateau


class Accelerated(Optimizer):
    """An optimizer as Accelerate wraps it: groups and state are those of the inner one."""

    def __init__(self, optimizer: Any) -> None:
        self.optimizer = optimizer

    @property
    def state(self) -> Any:  # type: ignore[override]
        return self.optimizer.state

    @property
    def param_groups(self) -> Any:  # type: ignore[override]
        return self.optimizer.param_groups

    def state_dict(self) -> Any:
        return self.optimizer.state_dict()

    def load_state_dict(self, state_dict: Any) -> None:
        self.optimizer.load_state_dict(state_dict)

    def zero_grad(self, set_to_none: bool = True) -> None:
        self.optimizer.zero_grad(set_to_none)

    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        self.optimizer.step()


class Copied(Optimizer):
    """An optimizer as Lightning wraps it: it has the attributes of the inner one."""

    def __init__(self, optimizer: Any) -> None:
        self.__dict__.update({name: value for name, value in vars(optimizer).items() if name != "step"})
        self._optimizer = optimizer

    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        self._optimizer.step()


class Plain:
    """An optimizer in a class that is none of torch's, as schedules of the first Transformers are written."""

    def __init__(self, optimizer: Any) -> None:
        self.optim = optimizer
        self.param_groups, self.state = optimizer.param_groups, optimizer.state

    def state_dict(self) -> Any:
        return self.optim.state_dict()

    def load_state_dict(self, state_dict: Any) -> None:
        self.optim.load_state_dict(state_dict)

    def step(self) -> None:
        self.optim.step()


class Lookahead(Optimizer):
    """An optimizer around another one, with a state of its own."""

    def __init__(self, optimizer: Any) -> None:
        self.optimizer = optimizer
        super().__init__(optimizer.param_groups, {})
        self.param_groups = optimizer.param_groups

    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        self.optimizer.step()


class AcceleratedSchedule:
    """A scheduler as Accelerate wraps it."""

    def __init__(self, scheduler: Any) -> None:
        self.scheduler = scheduler

    def step(self) -> None:
        self.scheduler.step()

    def get_last_lr(self) -> Any:
        return self.scheduler.get_last_lr()

    def state_dict(self) -> Any:
        return self.scheduler.state_dict()

    def load_state_dict(self, state: Any) -> None:
        self.scheduler.load_state_dict(state)


class IgniteSchedule:
    """A scheduler as Ignite wraps it."""

    def __init__(self, scheduler: Any) -> None:
        self.lr_scheduler = scheduler

    def step(self) -> None:
        self.lr_scheduler.step()

    def state_dict(self) -> Any:
        return {"lr_scheduler": self.lr_scheduler.state_dict()}

    def load_state_dict(self, state: Any) -> None:
        self.lr_scheduler.load_state_dict(state["lr_scheduler"])


def same(thing: Any) -> Any:
    return thing


VIEWS: list[Callable[[Any], Any]] = [same, Accelerated, Copied, Plain, lambda each: Accelerated(Accelerated(each))]
SCHEDULES: list[Callable[[Any], Any]] = [
    same,
    AcceleratedSchedule,
    IgniteSchedule,
    lambda each: AcceleratedSchedule(AcceleratedSchedule(each)),
]


def sgd() -> SGD:
    torch.manual_seed(0)
    return SGD(nn.Linear(1, 1).parameters(), lr=0.1)


@pytest.mark.parametrize("wrap", VIEWS)
def test_a_wrapper_with_the_groups_and_the_state_of_its_optimizer_is_taken_off(wrap: Any) -> None:
    """So that names in files are those of the optimizer, which schedulers drive."""
    optimizer = sgd()

    assert unwrapped_optimizer(wrap(optimizer)) is optimizer
    assert TorchSubject(nn.Linear(1, 1), wrap(optimizer)).optimizers == {"optimizer": optimizer}


def test_a_wrapper_with_a_state_of_its_own_is_kept() -> None:
    """Checkpoints hold it; a scheduler of the inner optimizer drives it."""
    optimizer = sgd()
    ahead = Lookahead(optimizer)
    scheduler = lr_scheduler.StepLR(optimizer, 1)

    assert unwrapped_optimizer(ahead) is ahead
    assert list(inner_optimizers(ahead)) == [optimizer]
    assert drives(scheduler, ahead)
    assert missing(TorchSubject(nn.Linear(1, 1), ahead, scheduler=scheduler), HasLearningRate) is None
    why = missing(TorchSubject(nn.Linear(1, 1), ahead), HasLearningRate)
    assert why is not None
    assert "was not given" in why


@pytest.mark.parametrize("wrap", SCHEDULES)
def test_a_wrapper_of_a_scheduler_is_taken_off(wrap: Any) -> None:
    """It drives what its scheduler drives."""
    optimizer = sgd()
    scheduler = lr_scheduler.StepLR(optimizer, 1)

    assert unwrapped_scheduler(wrap(scheduler)) is scheduler
    assert drives(scheduler, Accelerated(optimizer))
    assert not drives(scheduler, sgd())


def test_a_scheduler_that_has_another_one_is_no_wrapper() -> None:
    """It drives an optimizer by itself."""
    optimizer = sgd()
    scheduler = lr_scheduler.StepLR(optimizer, 1)
    vars(scheduler)["scheduler"] = lr_scheduler.StepLR(optimizer, 2)

    assert unwrapped_scheduler(scheduler) is scheduler
    assert not drives(object(), optimizer)


@pytest.mark.parametrize("wrap_schedule", SCHEDULES)
@pytest.mark.parametrize("wrap", [*VIEWS, Lookahead])
def test_a_cut_lasts_whatever_is_wrapped(wrap: Any, wrap_schedule: Any) -> None:
    """LambdaLR, which computes each rate from its first, would undo the cut at its next step."""
    optimizer = sgd()
    scheduler = lr_scheduler.LambdaLR(optimizer, lambda step: 1 - step / 100)
    model, given = nn.Linear(1, 1), (wrap(optimizer), wrap_schedule(scheduler))
    with Run(TorchSubject(model, given[0], scheduler=given[1])) as run:
        for epoch in run.epochs(4):
            for _ in run.batches(range(3)):
                given[0].step()
                given[1].step()
            if epoch == 1:
                run.decide(decision.scale_learning_rate(0.1))

    rates = [0.1 * (1 - 3 * epoch / 100) * (0.1 if epoch > 1 else 1) for epoch in range(4)]
    assert run.history["learning_rate"] == pytest.approx(rates)
    assert run.failures == []


@pytest.mark.parametrize("wrap", VIEWS)
@pytest.mark.parametrize("back", VIEWS)
def test_a_file_of_wrapped_objects_loads_into_plain_ones(wrap: Any, back: Any) -> None:
    """And the other way round: a script may leave Accelerate out."""
    for one, other in ((wrap, back), (back, wrap)):
        subjects = []
        for each in (one, other):
            model = nn.Linear(1, 1)
            optimizer = SGD(model.parameters(), lr=0.1, momentum=0.9)
            schedule = AcceleratedSchedule if each is Accelerated else same
            scheduler = schedule(lr_scheduler.StepLR(optimizer, 2))
            subjects.append(TorchSubject(model, each(optimizer), scheduler=scheduler))
        subjects[0].set_learning_rates({"learning_rate": 0.5})
        subjects[0].save("m.pt", weights_only=False)
        subjects[1].load("m.pt")

        assert subjects[1].learning_rates() == {"learning_rate": 0.5}


def test_what_is_no_optimizer_is_refused_as_before() -> None:
    """A wrapper without groups is none."""
    with pytest.raises(SettingsError, match="not an object with param_groups"):
        TorchSubject(nn.Linear(1, 1), AcceleratedSchedule(sgd()))  # type: ignore[arg-type]


def test_accelerate_itself() -> None:
    """Its prepared optimizer and scheduler, in every combination with what they wrap."""
    accelerate = pytest.importorskip("accelerate")
    accelerator = accelerate.Accelerator(cpu=True)
    for first, second in ((0, 0), (0, 1), (1, 0), (1, 1)):
        model = nn.Linear(1, 1)
        optimizer = SGD(model.parameters(), lr=0.1)
        scheduler = lr_scheduler.LambdaLR(optimizer, lambda step: 1 - step / 100)
        model, *prepared = accelerator.prepare(model, optimizer, scheduler)
        subject = TorchSubject(model, (optimizer, prepared[0])[first], scheduler=(scheduler, prepared[1])[second])
        with Run(subject) as run:
            for epoch in run.epochs(3):
                for _ in run.batches(range(2)):
                    prepared[0].zero_grad()
                    accelerator.backward(model(torch.ones(1, 1)).sum())
                    prepared[0].step()
                    prepared[1].step()
                if not epoch:
                    run.decide(decision.scale_learning_rate(0.1))

        assert run.history["learning_rate"] == pytest.approx([0.1, 0.0098, 0.0096])
        assert run.failures == []


@pytest.mark.parametrize(
    ("name", "schedule"),
    [
        ("LambdaLR", lambda optimizer: lr_scheduler.LambdaLR(optimizer, lambda step: min(1.0, (step + 1) / 4))),
        ("OneCycleLR", lambda optimizer: lr_scheduler.OneCycleLR(optimizer, [0.1, 0.2], total_steps=20)),
        ("StepLR", lambda optimizer: lr_scheduler.StepLR(optimizer, 3, 0.5)),
        ("LinearLR", lambda optimizer: lr_scheduler.LinearLR(optimizer, 0.25, total_iters=4)),
        ("CosineAnnealingLR", lambda optimizer: lr_scheduler.CosineAnnealingLR(optimizer, 12)),
    ],
)
@pytest.mark.parametrize("wrapped", [(0, 1), (1, 0), (1, 1)])
def test_a_cut_of_some_groups_composes_with_accelerate_and_a_schedule(
    wrapped: tuple[int, int], name: str, schedule: Callable[[Any], Any]
) -> None:
    """Each group has the rates of the schedule, times its own cuts, also in a warm-up."""
    accelerate = pytest.importorskip("accelerate")

    def train(*callbacks: Any) -> Run:
        accelerator = accelerate.Accelerator(cpu=True)
        model = nn.ModuleList([nn.Linear(1, 1), nn.Linear(1, 1)])
        groups = [{"params": model[0].parameters()}, {"params": model[1].parameters(), "lr": 0.2}]
        optimizer = SGD(groups, lr=0.1)
        scheduler = schedule(optimizer)
        prepared = accelerator.prepare(optimizer, scheduler)
        subject = TorchSubject(
            model, (optimizer, prepared[0])[wrapped[0]], scheduler=(scheduler, prepared[1])[wrapped[1]]
        )
        with Run(subject, callbacks, verbose=0) as run:
            for _ in run.epochs(4):
                for _ in run.batches(range(2)):
                    prepared[0].zero_grad()
                    accelerator.backward(sum(each(torch.ones(1, 1)).sum() for each in model))
                    prepared[0].step()
                    prepared[1].step()
                    run.log(loss=1.0)
        return run

    plain = train()
    cut = train(ReduceLROnPlateau(monitor="loss", patience=1, factor=0.5, groups=["learning_rate/1"]))

    assert cut.failures == []
    assert cut.history["learning_rate/0"] == pytest.approx(plain.history["learning_rate/0"])
    whole = plain.history["learning_rate/1"]
    expected = [rate * part for rate, part in zip(whole, [1, 1, 0.5, 0.25], strict=True)]
    assert cut.history["learning_rate/1"] == pytest.approx(expected)
