"""Optimizers, schedulers and scalers of a training."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.optim import SGD, Adam, swa_utils

from trainbus import CheckpointError, Run
from trainbus.adapters.torch import TorchSubject
from trainbus.plugins import ModelCheckpoint

from .trainings import X, Y, same, tiny


def _step(model: nn.Module, optimizer: Any) -> None:
    optimizer.zero_grad()
    (model(X).sum(1, keepdim=True) - Y).square().mean().backward()
    optimizer.step()


class Wrapping:
    """An optimizer that holds another one, as libraries have them."""

    def __init__(self, parameters: Any) -> None:
        self.inner: Any = Adam(parameters, lr=0.1)

    @property
    def param_groups(self) -> Any:
        return self.inner.param_groups

    def zero_grad(self) -> None:
        self.inner.zero_grad()

    def step(self) -> None:
        self.inner.step()

    def state_dict(self) -> Any:
        return self.inner.state_dict()

    def load_state_dict(self, state: Any) -> None:
        self.inner.load_state_dict(state)


class Lookahead(Wrapping):
    """It keeps slow weights; its state has no groups of parameters."""

    def __init__(self, parameters: Any) -> None:
        super().__init__(parameters)
        self.slow = [each.detach().clone() for group in self.param_groups for each in group["params"]]

    def step(self) -> None:
        super().step()
        fast = [each for group in self.param_groups for each in group["params"]]
        with torch.no_grad():
            for slow, each in zip(self.slow, fast, strict=True):
                each.copy_(slow.lerp_(each, 0.5))

    def state_dict(self) -> Any:
        return {"base_optimizer": self.inner.state_dict(), "slow": [each.clone() for each in self.slow]}

    def load_state_dict(self, state: Any) -> None:
        self.inner.load_state_dict(state["base_optimizer"])
        for slow, saved in zip(self.slow, state["slow"], strict=True):
            slow.copy_(saved)


class Half(Wrapping):
    """It scales the loss, as FP16 optimizers do."""

    scale = 1.0

    def step(self) -> None:
        super().step()
        self.scale *= 2

    def state_dict(self) -> Any:
        return {"optimizer_state_dict": self.inner.state_dict(), "loss_scaler": self.scale}

    def load_state_dict(self, state: Any) -> None:
        self.inner.load_state_dict(state["optimizer_state_dict"])
        self.scale = state["loss_scaler"]


class Counting(Wrapping):
    """Its state has no groups, but a key that others use for a mapping."""

    steps = 0

    def step(self) -> None:
        super().step()
        self.steps += 1

    def state_dict(self) -> Any:
        return {"state": self.steps, "inner": self.inner.state_dict()}

    def load_state_dict(self, state: Any) -> None:
        self.steps = state["state"]
        self.inner.load_state_dict(state["inner"])


class Lists(Wrapping):
    """Its groups are a list of states, one an inner optimizer."""

    def state_dict(self) -> Any:
        return {"param_groups": [self.inner.state_dict()], "version": 2}

    def load_state_dict(self, state: Any) -> None:
        self.inner.load_state_dict(state["param_groups"][0])


class Empty:
    """Plain gradient descent without a state."""

    def __init__(self, parameters: Any) -> None:
        self.param_groups = [{"params": list(parameters), "lr": 0.1}]

    def zero_grad(self) -> None:
        for each in self.param_groups[0]["params"]:
            each.grad = None

    def step(self) -> None:
        with torch.no_grad():
            for each in self.param_groups[0]["params"]:
                each.sub_(each.grad, alpha=self.param_groups[0]["lr"])

    def state_dict(self) -> Any:
        return {}

    def load_state_dict(self, state: Any) -> None:
        assert state == {}


def test_a_tensor_rate_is_loaded_in_place() -> None:
    """Any holder of the rate's tensor, such as a captured CUDA graph, sees the rate from the file."""
    rate = torch.tensor(0.5)
    model = tiny()
    subject = TorchSubject(model, Adam(model.parameters(), lr=rate, foreach=False))
    subject.save(Path("model.pt"), weights_only=False)
    rate.fill_(0.25)
    subject.load("model.pt")

    assert (float(rate), subject.learning_rates()) == (0.5, {"learning_rate": 0.5})


def test_the_state_of_a_disabled_scaler_is_skipped() -> None:
    """Mixed precision may be switched on for a training that began without."""
    off, on = (torch.amp.GradScaler("cpu", enabled=enabled, init_scale=8.0) for enabled in (False, True))
    TorchSubject(tiny(), scaler=off).save(Path("model.pt"), weights_only=False)
    TorchSubject(tiny(), scaler=on).load("model.pt")

    assert on.get_scale() == 8.0


@pytest.mark.parametrize("kind", [Lookahead, Half, Counting, Lists, Empty])
@pytest.mark.parametrize("suffix", [".pt", ".dcp"])
def test_an_optimizer_is_resumed_from_whatever_its_state_dict_holds(kind: Any, suffix: str) -> None:
    """The state of an optimizer that wraps another one, or has a form of its own, is saved and loaded."""
    model = tiny()
    optimizer = kind(model.parameters())
    subject = TorchSubject(model, optimizer)
    _step(model, optimizer)
    subject.save(Path(f"own{suffix}"), weights_only=False)
    wanted = copy.deepcopy(optimizer.state_dict())
    fresh = tiny()
    restored = kind(fresh.parameters())
    TorchSubject(fresh, restored).load(Path(f"own{suffix}"))

    assert same(restored.state_dict(), wanted)
    for trained, on in ((model, optimizer), (fresh, restored)):
        _step(trained, on)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), fresh.parameters(), strict=True))


@pytest.mark.parametrize("scalers", [1, 2, 3, "mapping"])
@pytest.mark.parametrize("sequence", [list, tuple])
def test_several_scalers_are_saved_and_restored(scalers: Any, sequence: Any) -> None:
    """``scaler`` takes the forms that ``optimizer`` takes: one, a sequence, a mapping."""

    def made(scale: float) -> Any:
        if scalers == "mapping":
            return {name: torch.amp.GradScaler("cpu", init_scale=scale) for name in ("g", "d")}
        return sequence(torch.amp.GradScaler("cpu", init_scale=scale + number) for number in range(scalers))

    saved, fresh = TorchSubject(tiny(), scaler=made(8.0)), TorchSubject(tiny(), scaler=made(2.0))
    for each in saved.scalers.values():
        each.scale(torch.ones(1))  # its scale exists from its first use on
    saved.save(Path("model.pt"), weights_only=False)
    fresh.load("model.pt")

    assert [each.get_scale() for each in fresh.scalers.values()] == [
        each.get_scale() for each in saved.scalers.values()
    ]


GROWTH: dict[str, Callable[[nn.Module, Any], object]] = {
    "a layer": lambda model, optimizer: optimizer.add_param_group({"params": model[2].parameters()}),
    "at another rate": lambda model, optimizer: optimizer.add_param_group(
        {"params": model[2].parameters(), "lr": 0.01}
    ),
    "one by one": lambda model, optimizer: [
        optimizer.add_param_group({"params": [each]}) for each in model[2].parameters()
    ],
    "the last first": lambda model, optimizer: optimizer.add_param_group({"params": list(model[2].parameters())[::-1]}),
    "into its group": lambda model, optimizer: optimizer.param_groups[0]["params"].extend(model[2].parameters()),
    "split": lambda model, optimizer: optimizer.add_param_group(
        {"params": [optimizer.param_groups[0]["params"].pop(), *model[2].parameters()], "lr": 0.5}
    ),
    "with a name": lambda model, optimizer: optimizer.add_param_group({"params": [model[2].bias], "name": "head"}),
}


@pytest.mark.parametrize("growth", GROWTH)
@pytest.mark.parametrize("kind", [SGD, Adam])
@pytest.mark.parametrize("suffix", [".pt", ".dcp"])
def test_parameters_that_were_added_while_training_are_added_again(growth: str, kind: Any, suffix: str) -> None:
    """A script that unfreezes layers in some epoch resumes after it: groups are made again, by parameter names."""

    def started() -> tuple[nn.Module, Any, TorchSubject]:
        model = tiny()
        model[2].requires_grad_(requires_grad=False)
        optimizer = kind(model[0].parameters(), lr=0.1, **({"momentum": 0.9} if kind is SGD else {}))
        return model, optimizer, TorchSubject(model, optimizer)

    model, optimizer, subject = started()
    _step(model, optimizer)
    model[2].requires_grad_(requires_grad=True)
    GROWTH[growth](model, optimizer)
    _step(model, optimizer)
    subject.save(Path(f"grown{suffix}"), weights_only=False)
    resumed, restored, its_subject = started()
    its_subject.load(f"grown{suffix}")

    assert its_subject.learning_rates() == subject.learning_rates()
    for each in (model, optimizer), (resumed, restored):
        _step(*each)
    for (name, a), (_, b) in zip(model.named_parameters(), resumed.named_parameters(), strict=True):
        assert torch.equal(a, b), name
    its_subject.save(Path(f"again{suffix}"), weights_only=False)
    third, last, third_subject = started()
    third_subject.load(f"again{suffix}")
    assert same(last.state_dict(), restored.state_dict())
    assert third[2].bias.requires_grad == resumed[2].bias.requires_grad


OTHERS: dict[str, Callable[[nn.Module], Any]] = {
    "fewer parameters": lambda model: Adam([model[0].weight]),
    "more parameters": lambda model: Adam(model.parameters()),
    "another layer": lambda model: Adam(model[2].parameters()),
    "other groups": lambda model: Adam([{"params": [each]} for each in model[0].parameters()]),
    "another order of groups": lambda model: Adam([{"params": [model[2].bias]}, {"params": model[0].parameters()}]),
}


@pytest.mark.parametrize("other", OTHERS)
@pytest.mark.parametrize("grown", [False, True])
@pytest.mark.parametrize("suffix", [".pt", ".dcp"])
def test_another_optimizer_is_refused_with_the_way_out(other: str, grown: bool, suffix: str) -> None:
    """An optimizer of other parameters than the file's run began with is refused by name, and nothing changes."""
    saved = tiny()
    optimizer = Adam(saved[0].parameters())
    subject = TorchSubject(saved, optimizer)
    if grown:
        optimizer.add_param_group({"params": [saved[2].weight]})
    _step(saved, optimizer)
    subject.save(Path(f"model{suffix}"), weights_only=False)
    model = tiny()
    made = OTHERS[other](model)
    before = copy.deepcopy(made.state_dict())
    with pytest.raises(CheckpointError, match=r"param.*in the file.*instead of resume="):
        TorchSubject(model, made).load(f"model{suffix}")

    assert same(made.state_dict(), before)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), tiny().parameters(), strict=True))


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
@pytest.mark.parametrize("suffix", [".pt", ".dcp"])
def test_the_state_goes_to_the_parameter_of_its_name(order: tuple[int, int], suffix: str) -> None:
    """A script that lists the same parameters in another order gives each the moments that it had."""

    def adam(model: nn.Module, order: tuple[int, int]) -> Any:
        return Adam([list(model.parameters())[number] for number in order])

    model = nn.Sequential(nn.Linear(3, 3, bias=False), nn.Linear(3, 3, bias=False))
    optimizer = adam(model, (0, 1))
    _step(model, optimizer)
    TorchSubject(model, optimizer).save(Path(f"model{suffix}"), weights_only=False)
    other = nn.Sequential(nn.Linear(3, 3, bias=False), nn.Linear(3, 3, bias=False))
    restored = adam(other, order)
    TorchSubject(other, restored).load(f"model{suffix}")

    for a, b in zip(model.parameters(), other.parameters(), strict=True):
        assert torch.equal(optimizer.state[a]["exp_avg"], restored.state[b]["exp_avg"])


class Counted:
    """An object of the user's own with a state."""

    def __init__(self) -> None:
        self.state: dict[str, Any] = {"count": 3}

    def state_dict(self) -> dict[str, Any]:
        """Return the state."""
        return dict(self.state)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Set the state."""
        self.state = dict(state)


EXTRAS: dict[str, Callable[[], dict[str, Any]]] = {
    "averaged weights": lambda: {"average": swa_utils.AveragedModel(tiny())},
    "a loss with weights": lambda: {"loss": nn.Linear(1, 1)},
    "an object of one's own": lambda: {"seen": Counted()},
    "two": lambda: {"average": swa_utils.AveragedModel(tiny()), "seen": Counted()},
    "a second model": lambda: {"teacher": tiny("noisy")},
    "a name with a dot": lambda: {"ema.0": swa_utils.AveragedModel(tiny())},
}
"""What users give as ``extra``."""


@pytest.mark.covering(1)
@pytest.mark.parametrize("kind", EXTRAS)
@pytest.mark.parametrize("suffix", [".pt", ".pth", ".safetensors", ".dcp"])
def test_a_file_of_weights_holds_them_alone_and_says_so(
    kind: str, suffix: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The plain state_dict, which any code loads; one line at the begin of the run, one at a resume."""

    def lines() -> list[str]:
        return [each.getMessage() for each in caplog.records if "extra " in each.getMessage()]

    extra = EXTRAS[kind]()
    named = ", ".join(f"extra {name!r}" for name in extra)
    saver = ModelCheckpoint(f"runs/weights{suffix}", save_weights_only=True)
    model = tiny()
    with Run(TorchSubject(model, extra=extra), saver) as run:
        assert lines() == [
            f"ModelCheckpoint: save_weights_only=True leaves out {named}; save_weights_only=False saves it too"
        ]
        for _ in run.epochs(2):
            run.log(loss=1.0)
    assert len(lines()) == 1
    if suffix in (".pt", ".pth"):
        tiny("mlp").load_state_dict(torch.load(f"runs/weights{suffix}", weights_only=True))

    caplog.clear()
    with Run(TorchSubject(tiny(), extra=EXTRAS[kind]()), saver, resume=f"runs/weights{suffix}"):
        pass
    assert f"everything else starts from the beginning, also {named}" in lines()[0]


@pytest.mark.parametrize("weights_only", [True, False])
def test_nothing_is_said_if_nothing_is_left_out(weights_only: bool, caplog: pytest.LogCaptureFixture) -> None:
    """A complete file holds all, and a training without ``extra`` has nothing more."""
    extra = {} if weights_only else {"average": swa_utils.AveragedModel(tiny())}
    with Run(TorchSubject(tiny(), extra=extra), ModelCheckpoint("runs/m", save_weights_only=weights_only)) as run:
        for _ in run.epochs(1):
            run.log(loss=1.0)
    assert "leaves out" not in caplog.text
