"""Files and snapshots of a PyTorch training, and what is refused."""

import copy
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.optim import SGD, Adam, lr_scheduler, swa_utils

from trainbus import CheckpointError, Run
from trainbus.adapters.torch import TorchSubject
from trainbus.plugins import EarlyStopping, ModelCheckpoint

from .trainings import Training, X, Y, tiny

KINDS = ["mlp", "noisy", "tied", "frozen", "weight_norm"]
OPTIMIZERS = ["SGD", "Adam", "AdamW with tensor", "RMSprop", "two"]
SCHEDULERS = ["", "StepLR", "MultiStepLR", "OneCycleLR", "SequentialLR"]


@given(
    kind=st.sampled_from(KINDS),
    optimizer=st.sampled_from(OPTIMIZERS),
    scheduler=st.sampled_from(SCHEDULERS),
    before=st.integers(0, 2),
    suffix=st.sampled_from([".pt", ".pth"]),
)
def test_a_restored_training_continues_bit_by_bit(
    kind: str, optimizer: str, scheduler: str, before: int, suffix: str
) -> None:
    """Every kind of training that a new process restores continues exactly as the uninterrupted one."""
    path = Path(f"whole{suffix}")
    unbroken = Training(kind, optimizer, scheduler)
    unbroken.train(before)
    unbroken.subject.save(path, weights_only=False)
    wanted = unbroken.train(2)

    torch.manual_seed(7)
    random.seed(7)
    np.random.seed(7)  # noqa: NPY002
    restored = Training(kind, optimizer, scheduler)
    restored.train(1)
    restored.subject.load(path)

    assert restored.train(2) == wanted
    for (name, a), (_, b) in zip(restored.subject.weights(), unbroken.subject.weights(), strict=True):
        np.testing.assert_array_equal(a, b, err_msg=name)
    assert restored.subject.learning_rates() == unbroken.subject.learning_rates()
    assert restored.scaler.get_scale() == unbroken.scaler.get_scale()
    for a, b in zip(restored.average.parameters(), unbroken.average.parameters(), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("weights_only", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_files_load_without_trainbus(kind: str, weights_only: bool) -> None:
    """The plain PyTorch calls read the files, into a model that does not depend on trainbus."""
    training = Training(kind, "Adam", "OneCycleLR")
    training.train(1)
    training.subject.save(Path("model.pt"), weights_only=weights_only)

    found = torch.load("model.pt", weights_only=True)
    fresh = tiny(kind)
    fresh.load_state_dict(found if weights_only else found["model"])
    if not weights_only:
        Adam(p for p in fresh.parameters() if p.requires_grad).load_state_dict(found["optimizers"]["only"])
    training.model.eval()
    assert torch.equal(fresh.eval()(X), training.model(X))


def test_a_plain_state_dict_is_loaded() -> None:
    """A file written by ``torch.save(model.state_dict(), path)`` is loaded as weights."""
    torch.save(tiny().state_dict(), "plain.pt")
    model = tiny()
    nn.init.zeros_(model[0].weight)
    TorchSubject(model).load("plain.pt")

    assert torch.equal(model[0].weight, tiny()[0].weight)


def test_weights_alone_change_nothing_else() -> None:
    """Loading weights into a training keeps its optimizer's state and rate; a complete file loads into a bare model."""
    training = Training("mlp", "Adam", "")
    training.train(1)
    training.subject.save(Path("whole.pt"), weights_only=False)
    training.subject.save(Path("weights.pt"), weights_only=True)
    before = copy.deepcopy(training.optimizers["only"].state_dict())
    training.subject.load("weights.pt")
    assert str(training.optimizers["only"].state_dict()) == str(before)

    bare = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 1))
    TorchSubject(bare).load("whole.pt")
    assert torch.equal(bare(X), training.model(X))


def test_modules_see_the_version_that_wrote_their_weights() -> None:
    """A module that reads weights of its older version gets that version, from a file and from memory."""
    seen: list[int | None] = []

    class Versioned(nn.Linear):
        _version = 3

        def _load_from_state_dict(self, state: Any, prefix: str, metadata: dict[str, int], *rest: Any) -> None:
            seen.append(metadata.get("version"))
            super()._load_from_state_dict(state, prefix, metadata, *rest)

    subject = TorchSubject(nn.DataParallel(nn.Sequential(Versioned(1, 1))))
    subject.save(Path("model.pt"), weights_only=True)
    subject.load("model.pt")
    subject.restore(subject.snapshot())

    assert seen == [3, 3]


def test_tied_weights_are_stored_once() -> None:
    """Two names of one tensor take the space of one, and are one again after loading."""
    model = nn.Sequential(nn.Linear(200, 200, bias=False), nn.Linear(200, 200, bias=False))
    model[1].weight = model[0].weight
    TorchSubject(model).save(Path("tied.pt"), weights_only=True)

    assert Path("tied.pt").stat().st_size < 1.2 * model[0].weight.nbytes
    found = torch.load("tied.pt", weights_only=True)
    assert found["0.weight"].data_ptr() == found["1.weight"].data_ptr()


@given(kind=st.sampled_from(KINDS), steps=st.integers(0, 3))
def test_a_snapshot_is_never_aliased(kind: str, steps: int) -> None:
    """Whatever is trained later, a snapshot restores the model of its step, and the optimizer still refers to it."""
    training = Training(kind, "SGD", "")
    training.train(1)
    before = {name: array.copy() for name, array in training.subject.weights()}
    snapshot = training.subject.snapshot()
    kept = copy.deepcopy(snapshot).weights
    training.train(steps)
    assert all(torch.equal(snapshot.weights[name], kept[name]) for name in kept)
    places = [parameter.data_ptr() for parameter in training.model.parameters()]
    training.subject.restore(snapshot)

    for name, array in training.subject.weights():
        np.testing.assert_array_equal(array, before[name], err_msg=name)
    assert [parameter.data_ptr() for parameter in training.model.parameters()] == places
    training.train(1)
    assert all(torch.equal(snapshot.weights[name], kept[name]) for name in kept)


def test_a_file_of_another_model_is_refused_and_changes_nothing() -> None:
    """Names and shapes that do not fit are refused, with the nearest name, before anything is loaded."""
    torch.save({"0.weight": torch.zeros(4, 3), "0.biass": torch.zeros(4)}, "names.pt")
    torch.save({**tiny().state_dict(), "2.bias": torch.zeros(7)}, "shapes.pt")
    model = tiny()
    with pytest.raises(CheckpointError, match=r"lacks the weights '0.bias', '2.weight', '2.bias' \(it has '0.biass'\)"):
        TorchSubject(model).load("names.pt")
    with pytest.raises(CheckpointError, match=r"'2.bias' has the shape \(7,\) in the file and \(1,\) in the model"):
        TorchSubject(model).load("shapes.pt")

    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), tiny().parameters(), strict=True))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda model: {"optimizer": SGD(model.parameters())}, "state of Adam, not of SGD"),
        (lambda model: {"optimizer": {"optimzer": Adam(model.parameters())}}, "'optimzer'.*'optimizer'"),
        (lambda model: {"optimizer": Adam(list(model.parameters())[:2])}, r"\[4\] parameters in the file and of \[2\]"),
        (
            lambda model: {"optimizer": (adam := Adam(model.parameters())), "scheduler": lr_scheduler.StepLR(adam, 1)},
            "lacks the schedulers 'scheduler'",
        ),
    ],
)
def test_a_file_of_another_training_is_refused_and_changes_nothing(make: Any, message: str) -> None:
    """Optimizers and schedulers of other names, classes or sizes are refused before anything is loaded."""
    saved = tiny()
    nn.init.zeros_(saved[0].weight)
    TorchSubject(saved, Adam(saved.parameters())).save(Path("adam.pt"), weights_only=False)
    model = tiny()
    with pytest.raises(CheckpointError, match=message):
        TorchSubject(model, **make(model)).load("adam.pt")

    assert torch.equal(model[0].weight, tiny()[0].weight)


@pytest.mark.parametrize("name", ["missing.pt", "text.pt", "code.pt", "cut.pt", "list.pt"])
def test_a_file_that_is_no_checkpoint_is_refused(name: str) -> None:
    """A file that is missing, damaged, of another kind, or that would run code, raises a CheckpointError naming it."""
    subject = TorchSubject(tiny())
    Path("text.pt").write_text("no checkpoint")
    torch.save({"path": Path("code")}, "code.pt")
    torch.save([1, 2], "list.pt")
    subject.save(Path("cut.pt"), weights_only=True)
    Path("cut.pt").write_bytes(Path("cut.pt").read_bytes()[:300])
    with pytest.raises(CheckpointError, match=name):
        subject.load(name)


def test_state_that_would_not_load_is_refused_when_it_is_saved() -> None:
    """A state that torch.load(weights_only=True) refuses is named by its position; the file before it stays."""

    class Reader:
        def state_dict(self) -> dict[str, Any]:
            return {"epoch": 1, "files": [Path("a")]}

        def load_state_dict(self, state: Mapping[str, Any]) -> None: ...

    subject = TorchSubject(tiny(), extra={"reader": Reader()})
    callbacks = ModelCheckpoint("best")
    Path("best.pt").write_text("before")
    with (
        pytest.raises(CheckpointError, match=r"extra\['reader'\]\['files'\]\[0\] is a PosixPath"),
        Run(subject, callbacks) as run,
    ):
        for _ in run.epochs(1):
            run.log(loss=1.0)

    assert Path("best.pt").read_text() == "before"


@pytest.mark.parametrize("model", [nn.LazyLinear(2), nn.Linear(2, 2, device="meta")], ids=["lazy", "meta"])
def test_weights_without_values_are_refused(model: nn.Module) -> None:
    """Lazy modules before their first batch, and modules on the meta device, have nothing to save, and no histogram."""
    subject = TorchSubject(model)
    with pytest.raises(CheckpointError, match=r"model\['weight'\] has no values yet"):
        subject.save(Path("model.pt"), weights_only=True)
    with pytest.raises(CheckpointError, match="no values yet"):
        subject.snapshot()

    assert list(subject.weights()) == []
    assert [node.kind for node in subject.graph()] == [type(model).__name__]


def _grown_buffer(model: nn.Module) -> None:
    model.get_submodule("1").register_buffer("running_mean", torch.zeros(9))


def _refusing(model: nn.Module) -> None:
    def refuse(*_: Any) -> None:
        raise ZeroDivisionError("no")

    model.get_submodule("3").register_load_state_dict_pre_hook(refuse)


CHANGES: dict[str, Any] = {
    "a buffer that grew": _grown_buffer,
    "a layer that was added": lambda model: model.append(nn.Linear(1, 1)),
    "a layer that was removed": lambda model: model.pop(3),
    "a layer of another size": lambda model: model.__setitem__(3, nn.Linear(2, 1)),
    "a bias that was dropped": lambda model: setattr(model[3], "bias", None),
    "a layer of another name": lambda model: model.add_module("head", model.pop(3)),
    "a layer that refuses": _refusing,
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("source", ["snapshot", "weights.pt", "whole.pt", "weights.dcp", "whole.dcp"])
def test_weights_that_no_longer_fit_change_nothing(change: str, source: str) -> None:
    """A model that has changed its form since is refused in words, and keeps the weights that it has."""
    model = tiny("noisy")
    subject = TorchSubject(model)
    snapshot = subject.snapshot()
    if source != "snapshot":
        subject.save(Path(source), weights_only="weights" in source)
    with torch.no_grad():
        for each in model.parameters():
            each.fill_(7.0)
    CHANGES[change](model)
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(CheckpointError, match=r"nothing was changed|does not fit"):
        subject.restore(snapshot) if source == "snapshot" else subject.load(source)

    after = model.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(after[name], value) for name, value in before.items())


class Refusing:
    """A component that takes its state once, and then no more."""

    def __init__(self, error: type[Exception]) -> None:
        self.error = error

    def state_dict(self) -> dict[str, Any]:
        return {"tensor": torch.ones(1)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        raise self.error("no")


@pytest.mark.parametrize("error", [RuntimeError, KeyError, ValueError, AttributeError, TypeError, AssertionError])
@pytest.mark.parametrize("suffix", [".pt", ".dcp"])
def test_a_component_that_refuses_its_state_leaves_the_others_as_they_were(error: type[Exception], suffix: str) -> None:
    """If one component cannot load, the weights, the optimizer and the averages keep what they had."""

    def made() -> tuple[nn.Module, Any, swa_utils.AveragedModel, TorchSubject]:
        model = tiny()
        adam, average = Adam(model.parameters()), swa_utils.AveragedModel(model)
        extra = {"average": average, "refusing": Refusing(error)}
        return model, adam, average, TorchSubject(model, adam, scheduler=lr_scheduler.StepLR(adam, 1), extra=extra)

    model, adam, average, subject = made()
    subject.save(Path(f"model{suffix}"), weights_only=False)
    model(X).sum().backward()
    adam.step()
    average.update_parameters(model)
    subject.schedulers["scheduler"].step()
    parts = model, adam, average, subject.schedulers["scheduler"]
    before = [copy.deepcopy(each.state_dict()) for each in parts]
    with pytest.raises(CheckpointError, match=f"extra 'refusing' cannot load its state: {error.__name__}"):
        subject.load(f"model{suffix}")

    assert [str(each.state_dict()) for each in parts] == [str(each) for each in before]


class PlainAverage:
    """Averaged weights in an object that is no module, as some libraries have them."""

    def __init__(self, model: nn.Module) -> None:
        self.shadow = [each.detach().clone() for each in model.parameters()]
        self.updates = 0

    def update(self, model: nn.Module) -> None:
        self.updates += 1
        for mine, each in zip(self.shadow, model.parameters(), strict=True):
            mine.lerp_(each.detach(), 0.5)

    def state_dict(self) -> dict[str, Any]:
        return {"shadow_params": self.shadow, "num_updates": self.updates}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.shadow = [each.clone() for each in state["shadow_params"]]
        self.updates = state["num_updates"]


AVERAGES: dict[str, tuple[Any, Any]] = {
    "equal": (swa_utils.AveragedModel, lambda average, model: average.update_parameters(model)),
    "exponential": (
        lambda model: swa_utils.AveragedModel(model, multi_avg_fn=swa_utils.get_ema_multi_avg_fn(0.5)),
        lambda average, model: average.update_parameters(model),
    ),
    "with buffers": (
        lambda model: swa_utils.AveragedModel(model, use_buffers=True),
        lambda average, model: average.update_parameters(model),
    ),
    "a copied model": (copy.deepcopy, lambda average, model: average.load_state_dict(model.state_dict())),
    "a plain object": (PlainAverage, lambda average, model: average.update(model)),
    "a loss with weights": (lambda _: nn.Linear(1, 1), lambda average, _: nn.init.normal_(average.weight)),
}


@pytest.mark.parametrize(
    ("kind", "resumed"),
    [
        pytest.param(kind, resumed, marks=pytest.mark.exhaustive if resumed and kind != "exponential" else [])
        for kind in AVERAGES
        for resumed in ("", "each epoch", "later", "weights of the best")
    ],
)
def test_averages_come_back_with_the_best_model(kind: str, resumed: str) -> None:
    """After early stopping, what was given as extra has the state of the best epoch, as the weights have."""
    make, update = AVERAGES[kind]
    seen: list[str] = []
    savers = [ModelCheckpoint("runs/newest", save_freq="3 epochs" if resumed == "later" else "epoch")]
    if resumed == "weights of the best":
        savers = [
            ModelCheckpoint("runs/best", save_best_only=True, save_weights_only=True),
            ModelCheckpoint("runs/newest", save_freq="3 epochs"),
        ]
    callbacks = [EarlyStopping(patience=2, restore_best_weights=True), *savers]

    def train(epochs: int, resume: str | None) -> tuple[nn.Module, Any, bool]:
        model = tiny("noisy")
        average, sgd = make(model), SGD(model.parameters(), lr=0.1)
        subject = TorchSubject(model, sgd, extra={"average": average})
        with Run(subject, callbacks, resume=resume) as run:
            for epoch in run.epochs(epochs):
                (model(X) - Y).square().mean().backward()
                sgd.step()
                update(average, model)
                seen.append(f"{model.state_dict()}{average.state_dict()}")
                run.log(val_loss=[3.0, 1.0, 2.0, 2.0, 2.0, 2.0][epoch])
        return model, average, run.stopped

    if resumed:
        train(3, None)
    model, average, stopped = train(6, "runs/newest.pt" if resumed else None)

    assert stopped
    assert f"{model.state_dict()}{average.state_dict()}" == seen[1]
