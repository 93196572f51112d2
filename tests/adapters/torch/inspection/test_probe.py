"""Inspecting a PyTorch model: its inputs, the outputs that are recorded, and no side effects."""

import copy
import logging
import sys
import threading
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from trainbus import LoopError, SettingsError
from trainbus.adapters.torch import TorchSubject
from trainbus.adapters.torch.inspection.probe import Probe, evaluation_without_side_effects
from trainbus.capabilities import HasActivations, HasTrace, missing

X = torch.arange(10.0).reshape(5, 2)
Y = torch.arange(5)


class One(nn.Module):
    def forward(self, x: Any, mask: Any = None) -> Any:
        return x


class Two(nn.Module):
    def forward(self, a: Any, b: Any, *, scale: float = 1.0) -> Any:
        return a + b


class Named(nn.Module):
    def forward(self, *, ids: Any, labels: Any = None) -> Any:
        return ids


class Mapped(nn.Module):
    def forward(self, batch: Any) -> Any:
        return batch["x"]


def loader(*tensors: Any, **options: Any) -> Any:
    return torch.utils.data.DataLoader(torch.utils.data.TensorDataset(*tensors), batch_size=3, **options)


@pytest.mark.parametrize(
    ("model", "data", "args", "kwargs"),
    [
        (One(), X, (X,), {}),
        (One(), X.numpy(), (X,), {}),
        (One(), (X, Y), (X,), {}),
        (One(), loader(X, Y), (X,), {}),
        (One(), [[X, Y]], (X,), {}),
        (One(), [((X, Y), Y)], (X,), {}),
        (Two(), (X, X), (X, X), {}),
        (Two(), [((X, X), Y)], (X, X), {}),
        (Two(), loader(X, X, Y), (X, X), {}),
        (Two(), {"a": X, "b": X, "label": Y}, (), {"a": X, "b": X}),
        (Named(), {"ids": X, "other": Y}, (), {"ids": X}),
        (Named(), [{"ids": X, "labels": Y}], (), {"ids": X, "labels": Y}),
        (Mapped(), {"x": X, "y": Y}, ({"x": X, "y": Y},), {}),
        (Mapped(), [({"x": X}, Y)], ({"x": X},), {}),
    ],
)
@pytest.mark.parametrize("size", [1, 2, 5, 9])
def test_a_model_is_called_with_the_arguments_of_forward(model: Any, data: Any, args: Any, kwargs: Any, size: int):
    """Concatenated, the batches are the data that ``forward`` takes, and none is larger than requested."""
    batches = list(Probe(data).batches(model, size))
    flat = [[*_tensors(part.args), *_tensors(part.kwargs)] for part in batches]
    assert max(len(tensor) for part in flat for tensor in part) <= size
    for column, wanted in zip(zip(*flat, strict=True), [*_tensors(args), *_tensors(kwargs)], strict=True):
        assert torch.equal(torch.cat(column), wanted)
    assert all(part.kwargs.keys() == kwargs.keys() for part in batches)


def _tensors(value: Any) -> list[Any]:
    if isinstance(value, torch.Tensor):
        return [value]
    return [tensor for item in (value.values() if isinstance(value, dict) else value) for tensor in _tensors(item)]


@pytest.mark.parametrize("once", [iter([X]), (batch for batch in [X])])
def test_data_that_can_be_iterated_only_once_is_refused(once: Any):
    """A generator is refused by name before training, and no batch of it is consumed."""
    with pytest.raises(SettingsError, match=r"probe is a .*, which can be iterated only once; give tensors, or a"):
        TorchSubject(One(), probe=once)
    assert len(list(once)) == 1


class Counting(nn.Module):
    """A module that changes its buffers at each call, one of them by assigning another tensor."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("calls", torch.zeros(()))
        self.register_buffer("last", torch.zeros(2))

    def forward(self, x: Any) -> Any:
        self.calls += 1
        self.last = x[0].detach()
        return x


def test_inspection_has_no_side_effects():
    """Modes of every module, buffers, weights, hooks and the loader's generator are unchanged afterwards."""
    generator = torch.Generator().manual_seed(3)
    model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2), Counting(), nn.ReLU(inplace=True), nn.Dropout())
    model[1].eval()  # frozen by its user
    held = dict(model.state_dict(keep_vars=True))
    before = copy.deepcopy(model.state_dict()), [module.training for module in model.modules()], generator.get_state()
    subject = TorchSubject(model, probe=loader(X, shuffle=True, generator=generator))
    with torch.random.fork_rng():
        assert len(list(subject.activations(2))) == 5 * 3
        subject.trace(2)
    after = model.state_dict(), [module.training for module in model.modules()], generator.get_state()
    assert all(torch.equal(before[0][name], tensor) for name, tensor in after[0].items())
    assert all(held[name] is tensor for name, tensor in model.state_dict(keep_vars=True).items())
    assert before[1] == after[1]
    assert torch.equal(before[2], after[2])
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


def test_a_failing_inspection_has_no_side_effects():
    """If the model raises, modes and hooks are restored all the same."""

    class Failing(nn.Module):
        def forward(self, x: Any) -> Any:
            raise ArithmeticError("no")

    model = nn.Sequential(nn.Linear(2, 2), Failing())
    with pytest.raises(ArithmeticError):
        list(TorchSubject(model, probe=X).activations(2))
    assert all(module.training for module in model.modules())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


@dataclass
class Answer:
    """The output type of some models."""

    scores: torch.Tensor
    hidden: Any


class Attending(nn.Module):
    """Modules with several outputs, called several times, never called, or that bypass their children."""

    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(2, 1, batch_first=True)
        self.recurrent = nn.LSTM(2, 3, batch_first=True)
        self.shared = nn.Linear(3, 3)
        self.unused = nn.Linear(1, 1)

    def forward(self, x: Any) -> Any:
        out, _ = self.recurrent(self.attention(x, x, x, need_weights=False)[0])
        return Answer(self.shared(self.shared(out)), None)


@given(st.integers(1, 6))
def test_outputs_of_every_module_that_calls_no_other_are_complete(size: int):
    """In any batch size the concatenated outputs are those of one pass, in evaluation mode, in any order."""
    torch.manual_seed(0)
    model, x = Attending(), torch.randn(5, 4, 2)
    found: dict[str, list[Any]] = {}
    for name, array in TorchSubject(model, probe=x).activations(size):
        found.setdefault(name, []).append(array)
    assert list(found) == ["attention", "recurrent/0", "recurrent/1", "recurrent/2", "shared"]
    with torch.no_grad():
        model.eval()
        attended = model.attention(x, x, x, need_weights=False)[0]
        out = model.recurrent(attended)[0]
        expected = {"attention": attended, "recurrent/0": out}
        expected["shared"] = torch.cat([model.shared(out), model.shared(model.shared(out))])
    for name, wanted in expected.items():
        arrays = np.concatenate(found[name]).ravel()
        np.testing.assert_allclose(np.sort(arrays), np.sort(wanted.numpy().ravel()), atol=1e-6)


def test_wrapped_models_are_inspected_without_their_wrappers():
    """A compiled model, and one inside DataParallel, is inspected uncompiled, under its plain names."""

    def refuse(*_: Any) -> Any:
        raise AssertionError("compiled for an inspection")

    compiled = torch.compile(nn.Sequential(nn.Linear(2, 1)), backend=refuse)
    inside = nn.Sequential(torch.compile(nn.Linear(2, 1), backend=refuse))
    for model, name in ((compiled, "0"), (inside, "0"), (nn.DataParallel(One()), "One")):
        assert [each for each, _ in TorchSubject(model, probe=X).activations(5)] == [name]


def test_without_a_probe_the_reason_names_the_fix():
    """Without data nothing is shown, and the log names the fix."""
    for capability in (HasActivations, HasTrace):
        why = str(missing(TorchSubject(One()), capability))
        assert "no probe data was given; give it: TorchSubject(..., probe=validation_loader)" in why
        subject = TorchSubject(One())
        subject.made_by = "SomeCallback"  # by a binding whose user never writes TorchSubject
        assert "give it: SomeCallback(..., probe=validation_loader)" in str(missing(subject, capability))


def test_names_that_differ_only_in_dots_and_slashes_are_distinct():
    """A module's name may contain a /: no module is shown under another's name."""
    model = nn.Sequential()
    model.add_module("a", nn.Sequential())
    model.a.add_module("b", nn.Linear(2, 2))
    model.add_module("a/b", nn.Linear(2, 2))
    subject = TorchSubject(model, probe=X)
    assert len(dict(subject.weights())) == 4
    assert set(dict(subject.activations(5))) == {"a/b", "a/b_2"}


def test_a_probe_without_batches_is_an_error():
    """A request for the graph or for activations gets the reason why there are none."""
    subject = TorchSubject(One(), probe=[])
    for look in (subject.trace, lambda size: list(subject.activations(size))):
        with pytest.raises(LoopError, match="the probe has no batch"):
            look(5)


def test_inspection_does_not_initialize_a_lazy_model():
    """Before its first batch it cannot be traced, and the log says why; after that, its layers are shown."""
    model = nn.Sequential(nn.LazyLinear(2))
    subject = TorchSubject(model, probe=X)
    why = "weights without values until its first batch"
    assert why in str(missing(subject, HasTrace))
    assert missing(subject, HasActivations) is None
    with pytest.raises(LoopError, match=why):
        list(subject.activations(5))
    assert model[0].has_uninitialized_params()
    model(X)
    assert [name for name, _ in subject.activations(5)] == ["0"]


def test_inspection_records_no_gradients():
    """The outputs need no gradients, and the weights keep theirs."""
    model = nn.Linear(2, 1)
    model(X).sum().backward()
    before = model.weight.grad
    with evaluation_without_side_effects(model):
        assert not model(X).requires_grad
    assert model.weight.grad is before
    assert model(X).requires_grad


def test_concurrent_inspections_restore_the_state_of_the_process():
    """Output, log, warnings and the compiler's stance belong to all threads; each inspection restores them."""
    compiled = torch.compile(nn.Linear(2, 1), backend="eager")
    compiled(X)
    before = sys.stdout, sys.stderr, logging.root.manager.disable, warnings.filters[:]
    together = threading.Barrier(2)

    def inspect() -> None:
        subject = TorchSubject(nn.Sequential(nn.Linear(2, 2), nn.ReLU()), probe=X)
        together.wait()
        for _ in range(20):
            subject.trace(2)
            list(subject.activations(2))

    threads = [threading.Thread(target=inspect) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert before == (sys.stdout, sys.stderr, logging.root.manager.disable, warnings.filters[:])
    assert torch._dynamo.eval_frame._stance.stance == "default"
