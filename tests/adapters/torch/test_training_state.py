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
from torch.optim import SGD, Adam, lr_scheduler

from trainbus import CheckpointError, Run
from trainbus.adapters.torch import TorchSubject
from trainbus.plugins import ModelCheckpoint

from .trainings import Training, X, tiny

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
    kept = copy.deepcopy(snapshot)
    training.train(steps)
    assert all(torch.equal(snapshot[name], kept[name]) for name in kept)  # type: ignore[index]
    places = [parameter.data_ptr() for parameter in training.model.parameters()]
    training.subject.restore(snapshot)

    for name, array in training.subject.weights():
        np.testing.assert_array_equal(array, before[name], err_msg=name)
    assert [parameter.data_ptr() for parameter in training.model.parameters()] == places
    training.train(1)
    assert all(torch.equal(snapshot[name], kept[name]) for name in kept)  # type: ignore[index]


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
