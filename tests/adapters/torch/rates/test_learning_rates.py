"""Learning rates of torch optimizers: their names, and cuts that last under every scheduler."""

import inspect
import math
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.optim import SGD, Optimizer, lr_scheduler, swa_utils

from trainbus import MissingCapability, Run, SettingsError
from trainbus.adapters.torch import TorchSubject
from trainbus.capabilities import HasLearningRate, missing
from trainbus.plugins import EarlyStopping, ReduceLROnPlateau


@pytest.fixture(autouse=True)
def _quiet_schedulers() -> Iterator[None]:
    with warnings.catch_warnings():
        # torch's own remarks on schedulers that step without an optimizer, and on its deprecated step(epoch)
        warnings.filterwarnings("ignore", message=r"Detected call of `lr_scheduler.step\(\)`")
        warnings.filterwarnings("ignore", message="The epoch parameter in `scheduler.step")
        yield


def sgd(*rates: float, **options: Any) -> SGD:
    """Return an optimizer with one group for each rate."""
    return SGD([{"params": [nn.Parameter(torch.ones(1))], "lr": rate} for rate in rates], lr=0.1, **options)


SCHEDULERS: dict[str, Callable[[Optimizer], Any]] = {
    "LambdaLR": lambda optimizer: lr_scheduler.LambdaLR(optimizer, lambda epoch: 1 / (epoch + 1)),
    "MultiplicativeLR": lambda optimizer: lr_scheduler.MultiplicativeLR(optimizer, lambda epoch: 0.9),
    "StepLR": lambda optimizer: lr_scheduler.StepLR(optimizer, 3, 0.5),
    "MultiStepLR": lambda optimizer: lr_scheduler.MultiStepLR(optimizer, [2, 7], 0.5),
    "ConstantLR": lambda optimizer: lr_scheduler.ConstantLR(optimizer, 0.25, 6),
    "LinearLR": lambda optimizer: lr_scheduler.LinearLR(optimizer, 0.25, 1.0, 8),
    "ExponentialLR": lambda optimizer: lr_scheduler.ExponentialLR(optimizer, 0.9),
    "PolynomialLR": lambda optimizer: lr_scheduler.PolynomialLR(optimizer, 50, 2.0),
    "CosineAnnealingLR": lambda optimizer: lr_scheduler.CosineAnnealingLR(optimizer, 5, 0.001),
    "CosineAnnealingWarmRestarts": lambda optimizer: lr_scheduler.CosineAnnealingWarmRestarts(optimizer, 4, 2, 0.001),
    "CyclicLR": lambda optimizer: lr_scheduler.CyclicLR(optimizer, 0.01, 0.1, 3),
    "OneCycleLR": lambda optimizer: lr_scheduler.OneCycleLR(optimizer, 0.1, 50),
    "SequentialLR": lambda optimizer: lr_scheduler.SequentialLR(
        optimizer,
        [lr_scheduler.LinearLR(optimizer, 0.1, 1.0, 4), lr_scheduler.CosineAnnealingLR(optimizer, 30, 0.001)],
        milestones=[4],
    ),
    "ChainedScheduler": lambda optimizer: lr_scheduler.ChainedScheduler(
        [lr_scheduler.ConstantLR(optimizer, 0.5, 3), lr_scheduler.ExponentialLR(optimizer, 0.9)], optimizer
    ),
    "SWALR": lambda optimizer: swa_utils.SWALR(optimizer, 0.02, 5),
}


def test_every_scheduler_of_torch_is_tested() -> None:
    """Every scheduler that torch has is among those tried here, but its own ReduceLROnPlateau, tried by itself."""
    kinds = {
        name
        for module in (lr_scheduler, swa_utils)
        for name, kind in vars(module).items()
        if inspect.isclass(kind) and issubclass(kind, lr_scheduler.LRScheduler) and not name.startswith("_")
    }
    assert kinds - {"LRScheduler", "ReduceLROnPlateau"} == set(SCHEDULERS)


def rates_of(optimizer: Optimizer) -> list[float]:
    return [float(group["lr"]) for group in optimizer.param_groups]


@pytest.mark.covering(1)
@pytest.mark.parametrize("name", SCHEDULERS)
@pytest.mark.parametrize("tensors", [False, True], ids=["numbers", "tensors"])
@given(cuts=st.dictionaries(st.integers(0, 14), st.sampled_from([0.1, 0.5, 0.3]), max_size=3))
def test_a_cut_lasts_under_every_scheduler(name: str, tensors: bool, cuts: dict[int, float]) -> None:
    """From a cut on every rate is that multiple of what the schedule would have given."""
    plain, cut = (
        sgd(*((torch.tensor(rate) for rate in (0.1, 0.02)) if tensors else (0.1, 0.02)), momentum=0.9) for _ in range(2)
    )
    schedules = SCHEDULERS[name](plain), SCHEDULERS[name](cut)
    subject = TorchSubject(nn.Linear(1, 1), cut, scheduler=schedules[1])
    assert missing(subject, HasLearningRate) is None
    factor = 1.0
    for epoch in range(15):
        if epoch in cuts:
            factor *= cuts[epoch]
            subject.set_learning_rates({k: rate * cuts[epoch] for k, rate in subject.learning_rates().items()})
            assert [float(rate) for rate in schedules[1].get_last_lr()] == rates_of(cut)
        assert rates_of(cut) == pytest.approx(
            [rate * factor for rate in rates_of(plain)], rel=1e-4 if tensors else 1e-9
        )
        for schedule in schedules:
            schedule.step()


def test_a_cut_lasts_under_torchs_own_plateau() -> None:
    """ReduceLROnPlateau of torch continues from the rate that trainbus has cut."""
    optimizer = sgd(0.1)
    scheduler = lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.5, patience=0)
    subject = TorchSubject(nn.Linear(1, 1), optimizer, scheduler=scheduler)
    scheduler.step(1.0)
    subject.set_learning_rates({"learning_rate": 0.01})
    assert scheduler.get_last_lr() == [0.01]
    scheduler.step(1.0)

    assert subject.learning_rates() == {"learning_rate": 0.005}


@given(factors=st.lists(st.floats(0.01, 1), min_size=2, max_size=2), steps=st.integers(0, 20))
def test_a_group_that_was_cut_more_never_rises_above_its_schedule(factors: list[float], steps: int) -> None:
    """If groups are cut by different factors, no later rate exceeds the one of the schedule without a cut."""
    plain, cut = sgd(0.1, 0.02), sgd(0.1, 0.02)
    schedules = [lr_scheduler.CosineAnnealingWarmRestarts(each, 6, eta_min=0.001) for each in (plain, cut)]
    subject = TorchSubject(nn.Linear(1, 1), cut, scheduler=schedules[1])
    rates = zip(subject.learning_rates().items(), factors, strict=True)
    subject.set_learning_rates({name: rate * factor for (name, rate), factor in rates})
    for _ in range(steps):
        for schedule in schedules:
            schedule.step()

    assert all(low <= high * (1 + 1e-9) for low, high in zip(rates_of(cut), rates_of(plain), strict=True))


class Halving(lr_scheduler.LRScheduler):
    """A user's scheduler that computes from base_lrs."""

    def get_lr(self) -> list[Any]:
        return [base / 2**self.last_epoch for base in self.base_lrs]


class Table(lr_scheduler.LRScheduler):
    """A user's scheduler that computes every rate by itself."""

    def get_lr(self) -> list[Any]:
        return [0.1 / (self.last_epoch + 1) for _ in self.base_lrs]


def test_a_scheduler_that_would_undo_a_cut_is_refused_before_training() -> None:
    """A scheduler that computes rates from its own values is detected by a trial that changes nothing, and named."""
    for kind, lasts in ((Halving, True), (Table, False)):
        optimizer = sgd(0.1, 0.02)
        scheduler = kind(optimizer)
        before = {**scheduler.state_dict()}, rates_of(optimizer)
        why = missing(TorchSubject(nn.Linear(1, 1), optimizer, scheduler=scheduler), HasLearningRate)
        assert (why is None) == lasts
        assert lasts or "Table" in str(why)
        assert (scheduler.state_dict(), rates_of(optimizer)) == before


UNKNOWN: dict[str, Callable[[Any], Any]] = {
    "the first parameter, as AdafactorSchedule": lambda scheduler: [
        0.1 for group in scheduler.optimizer.param_groups if group["params"][0].grad is None
    ],
    "a key of the groups": lambda scheduler: [group["scale"] for group in scheduler.optimizer.param_groups],
    "no number": lambda scheduler: [None for _ in scheduler.base_lrs],
    "text": lambda scheduler: ["fast" for _ in scheduler.base_lrs],
    "nothing": lambda scheduler: None,
    "a division": lambda scheduler: [1 / 0],
    "what was closed": lambda scheduler: (_ for _ in ()).throw(RuntimeError("closed")),
    "an attribute": lambda scheduler: scheduler.optimizer.defaults["lr"],
}


@pytest.mark.parametrize("reads", UNKNOWN)
def test_a_scheduler_whose_next_rates_are_not_known_is_refused_before_training(reads: str) -> None:
    """Whatever it raises when a copy of it is tried, the error is one line that names it; all else works."""

    class Own(lr_scheduler.LRScheduler):
        ready = False

        def get_lr(self) -> Any:
            return UNKNOWN[reads](self) if self.ready else list(self.base_lrs)

    optimizer = sgd(0.1)
    scheduler = Own(optimizer)
    Own.ready = True
    subject = TorchSubject(nn.Linear(1, 1), optimizer, scheduler=scheduler)
    with pytest.raises(MissingCapability, match=r"Own \('scheduler'\) (could|would) undo every change: .+") as caught:
        Run(subject, ReduceLROnPlateau())
    assert "\n" not in str(caught.value)
    with Run(subject, EarlyStopping(monitor="loss")) as run:
        for _ in run.epochs(1):
            run.log(loss=1.0)
    assert run.history["learning_rate"] == [0.1]


def test_a_scheduler_that_was_not_given_is_refused_before_training() -> None:
    """ReduceLROnPlateau needs to know what else changes the rate; all else works, and the rate is reported."""
    optimizer = sgd(0.1)
    scheduler = lr_scheduler.ExponentialLR(optimizer, 0.5)
    model = nn.Linear(1, 1)
    with pytest.raises(MissingCapability, match=r"scheduler=scheduler"):
        Run(TorchSubject(model, optimizer), ReduceLROnPlateau())
    Run(TorchSubject(model, optimizer, scheduler=scheduler), ReduceLROnPlateau())
    with Run(TorchSubject(model, optimizer), EarlyStopping(monitor="loss", patience=9)) as run:
        for _ in run.epochs(3):
            for _ in run.batches(range(2)):
                run.log(loss=1.0)
                optimizer.step()
            scheduler.step()

    assert run.history["learning_rate"] == [0.1, 0.05, 0.025]


@pytest.mark.parametrize("cycle", [False, True], ids=["freed", "in a cycle"])
@pytest.mark.parametrize(
    "name", [pytest.param(each, marks=pytest.mark.exhaustive if each != "StepLR" else ()) for each in SCHEDULERS]
)
def test_a_scheduler_that_is_gone_leaves_rates_that_can_be_cut(name: str, cycle: bool) -> None:
    """Such as that of a search for the first rate, or of a warm-up of the user's own."""
    optimizer = sgd(0.1)
    scheduler: Any = SCHEDULERS[name](optimizer)
    optimizer.step()
    scheduler.step()
    if cycle:
        scheduler.itself = scheduler
    del scheduler
    for group in optimizer.param_groups:
        group["lr"] = 0.1

    with Run(TorchSubject(nn.Linear(1, 1), optimizer), ReduceLROnPlateau(monitor="loss", patience=0), verbose=0) as run:
        for _ in run.epochs(3):
            run.log(loss=1.0)
    assert run.history["learning_rate"] == pytest.approx([0.1, 0.1, 0.01])


def test_a_schedule_at_zero_cannot_be_scaled() -> None:
    """A warm-up that begins at 0 leaves nothing to multiply: an error; a rate without a schedule can be written."""
    optimizer = sgd(0.1)
    free = TorchSubject(nn.Linear(1, 1), sgd(0.0))
    free.set_learning_rates({"learning_rate": 0.1})
    assert free.learning_rates() == {"learning_rate": 0.1}
    warm_up = lr_scheduler.LambdaLR(optimizer, lambda epoch: epoch / 5)
    with pytest.raises(SettingsError, match=r"multiplying 0 cannot give 0\.1"):
        TorchSubject(nn.Linear(1, 1), optimizer, scheduler=warm_up).set_learning_rates({"learning_rate": 0.1})


@pytest.mark.parametrize(
    ("make", "names"),
    [
        (lambda: sgd(0.1), ["learning_rate"]),
        (lambda: [sgd(0.1)], ["learning_rate"]),
        (lambda: sgd(0.1, 0.2), ["learning_rate/0", "learning_rate/1"]),
        (lambda: {"generator": sgd(0.1), "critic": sgd(0.1)}, ["learning_rate/generator", "learning_rate/critic"]),
        (lambda: [sgd(0.1), sgd(0.1)], ["learning_rate/SGD", "learning_rate/SGD-2"]),
        (
            lambda: {"a": sgd(0.1), "b": sgd(0.1, 0.2)},
            ["learning_rate/a", "learning_rate/b/0", "learning_rate/b/1"],
        ),
    ],
)
def test_names_of_rates(make: Callable[[], Any], names: list[str]) -> None:
    """The one rate is "learning_rate"; several are named by optimizer and group, as far as there are several."""
    assert list(TorchSubject(nn.Linear(1, 1), make()).learning_rates()) == names


def test_groups_have_the_names_that_the_user_gave() -> None:
    """A group's key "name" is its name; if two have the same one, the second is numbered."""
    optimizer = sgd(0.1, 0.2, 0.3)
    for group, name in zip(optimizer.param_groups, ["head", "body", "head"], strict=True):
        group["name"] = name
    subject = TorchSubject(nn.Linear(1, 1), optimizer)
    subject.set_learning_rates({"learning_rate/body": 0.05})

    assert subject.learning_rates() == {
        "learning_rate/head": 0.1,
        "learning_rate/body": 0.05,
        "learning_rate/head-2": 0.3,
    }
    with pytest.raises(SettingsError, match=r"did you mean 'learning_rate/body'"):
        subject.set_learning_rates({"learning_rate/bodi": 0.1})


def test_a_tensor_rate_is_written_in_place() -> None:
    """Any holder of the tensor, such as a captured CUDA graph, sees the new rate."""
    rate = torch.tensor(0.1)
    subject = TorchSubject(nn.Linear(1, 1), sgd(rate))  # type: ignore[arg-type]
    subject.set_learning_rates({"learning_rate": 0.05})

    assert float(rate) == pytest.approx(0.05)


class Stubborn(SGD):
    """An optimizer that creates its groups again at each access."""

    @property
    def param_groups(self) -> list[dict[str, Any]]:  # type: ignore[override]
        return [{**group} for group in self.kept]

    @param_groups.setter
    def param_groups(self, groups: list[dict[str, Any]]) -> None:
        self.kept = groups


def test_every_write_is_read_back() -> None:
    """An optimizer that does not keep a rate raises an error, instead of training with the old one."""
    optimizer = Stubborn([nn.Parameter(torch.ones(1))])
    optimizer.kept = [{"params": [], "lr": 0.1}]
    with pytest.raises(SettingsError, match="does not keep"):
        TorchSubject(nn.Linear(1, 1), optimizer).set_learning_rates({"learning_rate": 0.05})


def optimizers() -> list[str]:
    kinds = [name for name, kind in vars(torch.optim).items() if inspect.isclass(kind) and name != "Optimizer"]
    assert len(kinds) >= 15
    return kinds


@pytest.mark.parametrize("name", optimizers())
def test_a_cut_acts_in_every_optimizer_or_is_refused(name: str) -> None:
    """A tenth of the rate makes steps of about a tenth; otherwise ReduceLROnPlateau is refused."""
    moved = []
    for factor in (1.0, 0.1):
        parameter = nn.Parameter(torch.ones(3, 3))
        optimizer = getattr(torch.optim, name)([parameter], lr=1e-3)
        subject = TorchSubject(nn.Linear(1, 1), optimizer)

        def loss(parameter: nn.Parameter = parameter, optimizer: Any = optimizer) -> Any:
            optimizer.zero_grad()
            value = parameter.sub(3).pow(2).sum()
            value.backward()
            if name == "SparseAdam":
                parameter.grad = parameter.grad.to_sparse()  # type: ignore[union-attr]
            return value

        for step in range(6):
            if step == 3 and missing(subject, HasLearningRate) is None:
                subject.set_learning_rates({"learning_rate": 1e-3 * factor})
            before = parameter.detach().clone()
            optimizer.step(loss) if name == "LBFGS" else (loss(), optimizer.step())
        moved.append(float((parameter.detach() - before).abs().max()))
    acts = math.isclose(moved[1] / moved[0], 0.1, rel_tol=0.1)
    assert acts == (missing(subject, HasLearningRate) is None)
    assert acts == (name != "Rprop")


@pytest.mark.parametrize("make", [lambda model: None, lambda model: torch.optim.Rprop(model.parameters())])
def test_a_training_without_a_rate_refuses_to_reduce_it(make: Callable[[nn.Module], Any]) -> None:
    """Without an optimizer, or with one whose rate does not act, ReduceLROnPlateau is refused with the reason."""
    model = nn.Linear(1, 1)
    with pytest.raises(MissingCapability, match=r"no optimizer was given|Rprop has no learning rate that acts"):
        Run(TorchSubject(model, make(model)), ReduceLROnPlateau())
