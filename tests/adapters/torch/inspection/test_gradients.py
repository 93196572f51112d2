"""The gradients of a model's weights as its optimizers use them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from trainbus.adapters.torch.inspection.gradients import hold_gradients, why_no_gradients

from ..trainings import X, tiny

KINDS = ["mlp", "noisy", "tied", "frozen", "weight_norm"]


def backward(model: nn.Module, scale: float = 1.0) -> dict[int, Any]:
    """Compute gradients; return the identity of each weight and a copy of its gradient."""
    (scale * model(X)).square().sum().backward()
    return {id(each): each.grad.clone() for each in model.parameters() if each.grad is not None}


def sgd(*models: nn.Module) -> dict[str, Any]:
    return {f"of {number}": torch.optim.SGD(each.parameters(), lr=0.1) for number, each in enumerate(models)}


@given(kind=st.sampled_from(KINDS), clip=st.none() | st.floats(0.01, 1.0), cleared=st.booleans())
def test_gradients_are_those_of_the_update(kind: str, clip: float | None, cleared: bool) -> None:
    """After clipping, and also if the loop clears them right after the update; frozen weights have none."""
    model = tiny(kind)
    optimizers = sgd(model)
    gradients = hold_gradients(model, optimizers)
    backward(model)
    if clip is not None:
        nn.utils.clip_grad_norm_(model.parameters(), clip)
    expected = {
        name.replace(".", "/"): each.grad.clone() for name, each in model.named_parameters() if each.grad is not None
    }
    for optimizer in optimizers.values():
        optimizer.step()
        if cleared:
            optimizer.zero_grad()
    found = dict(gradients())

    assert list(found) == list(expected)
    for name, values in expected.items():
        np.testing.assert_array_equal(found[name], values.numpy())


def test_each_optimizers_first_update_counts() -> None:
    """Later updates do not replace it, and an optimizer that makes none adds nothing."""
    model = nn.ModuleDict({"a": nn.Linear(3, 1), "b": nn.Linear(3, 1), "c": nn.Linear(3, 1)})
    optimizers = sgd(*model.values())
    gradients = hold_gradients(model, optimizers)
    expected: dict[str, Any] = {}
    for update in range(2):
        for name, optimizer in zip("ab", optimizers.values(), strict=False):
            optimizer.zero_grad()
            backward(model[name], scale=1.0 + update)
            if not update:
                expected |= {f"{name}/{part}": each.grad.clone() for part, each in model[name].named_parameters()}
            optimizer.step()
    found = dict(gradients())

    assert list(found) == list(expected) == ["a/weight", "a/bias", "b/weight", "b/bias"]
    for name, values in expected.items():
        np.testing.assert_array_equal(found[name], values.numpy())


def test_optimizers_are_left_without_hooks() -> None:
    """Once the gradients were read; an update then copies nothing."""
    model = tiny()
    optimizers = sgd(model)
    gradients = hold_gradients(model, optimizers)
    assert list(gradients()) == []
    backward(model)
    optimizers["of 0"].step()

    assert not optimizers["of 0"]._optimizer_step_pre_hooks
    assert list(gradients()) == []


def test_an_error_while_reading_does_not_stop_the_update() -> None:
    """It is raised where the gradients are asked for."""

    class Unreadable(nn.Linear):
        def state_dict(self, *_: Any, **__: Any) -> Any:
            raise ArithmeticError("no names")

    model = Unreadable(3, 1)
    optimizers = sgd(model)
    gradients = hold_gradients(model, optimizers)
    backward(model)
    before = model.weight.detach().clone()
    optimizers["of 0"].step()

    assert not torch.equal(model.weight, before)
    with pytest.raises(ArithmeticError, match="no names"):
        gradients()


def test_sparse_gradients_show_the_values_that_they_hold() -> None:
    """Of an embedding with sparse gradients only the rows that were looked up are counted, each once."""
    embedding = torch.nn.Embedding(100, 2, sparse=True)
    optimizers = sgd(embedding)
    held = hold_gradients(embedding, optimizers)
    embedding(torch.tensor([3, 3, 7])).sum().backward()
    optimizers["of 0"].step()
    ((name, values),) = held()

    assert (name, sorted(values.ravel())) == ("weight", [1.0, 1.0, 2.0, 2.0])


def test_optimizers_without_hooks_are_named() -> None:
    """Without an optimizer, or with one that has no hook for its updates, the reason names the fix."""

    class Own:
        param_groups: tuple[Any, ...] = ()

    assert "give it: TorchSubject(model, optimizer)" in str(why_no_gradients({}))
    assert why_no_gradients({"mine": Own()}) == "the optimizer 'mine' is a Own, which has no hook for its updates"
    assert why_no_gradients(sgd(tiny())) is None
