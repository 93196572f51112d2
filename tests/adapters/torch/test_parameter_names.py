"""The names of an optimizer's parameters, by group."""

import pytest
from torch import nn
from torch.optim import SGD

from trainbus.adapters.torch.parameter_names import arrange, has_groups, in_order_of, mismatch, parameter_names


@pytest.mark.parametrize("wrap", [lambda model: model, nn.DataParallel], ids=["plain", "parallel"])
def test_names_are_those_without_wrappers(wrap: object) -> None:
    """A parameter has the same name in a wrapped model; one of another model has none."""
    model, other = nn.Sequential(nn.Linear(1, 1)), nn.Linear(1, 1, bias=False)
    optimizer = SGD([{"params": model.parameters()}, {"params": other.parameters()}])

    assert parameter_names(wrap(model), optimizer) == [["0.weight", "0.bias"], [""]]  # type: ignore[operator]


@pytest.mark.parametrize(
    ("saved", "began", "present", "reason"),
    [
        ([["a"]], [["a"]], [["a"]], ""),
        ([["a", "b"]], [["a", "b"]], [["b", "a"]], ""),
        ([["a"], ["b"]], [["a"]], [["a"]], ""),
        ([["a"], ["c"]], [["a"]], [["a"]], "also trains 'c'"),
        ([["a"]], [["a"]], [["b"]], "also trains 'a'; the file's does not train 'b'"),
        ([["a"]], [["a"]], [["a", "b"]], "does not train 'b'"),
        ([["a"], ["b"]], [["a"], ["b"]], [["b"], ["a"]], "groups of [1, 1] parameters in the file and of [1, 1]"),
        ([["a", "b"]], [["a", "b"]], [["a"], ["b"]], "groups of [2] parameters in the file and of [1, 1] here"),
        ([["a", ""]], [["a", ""]], [["", "a"]], ""),
        ([["a", ""]], [["a"]], [["a"]], "groups of [2] parameters in the file and of [1] here"),
    ],
)
def test_what_fits(saved: list[list[str]], began: list[list[str]], present: list[list[str]], reason: str) -> None:
    """The same groups fit, in any order inside; so do those with which the file's run began."""
    found = mismatch("Adam", saved, began, present, ["a", "b"])
    assert reason in found
    assert bool(found) == bool(reason)


def test_groups_are_made_as_they_were() -> None:
    """Parameters move between groups, come and go, and begin to require gradients."""
    model = nn.ModuleDict({name: nn.Linear(1, 1, bias=False).requires_grad_(name != "c") for name in "abc"})
    optimizer = SGD([{"params": [model[name].weight]} for name in "ab"])
    arrange(model, optimizer, [["b.weight"], ["a.weight"], ["c.weight"]])

    assert parameter_names(model, optimizer) == [["b.weight"], ["a.weight"], ["c.weight"]]
    assert model["c"].weight.requires_grad
    arrange(model, optimizer, [["c.weight", "b.weight"]])
    assert parameter_names(model, optimizer) == [["c.weight", "b.weight"]]


def test_a_named_optimizer_keeps_its_names() -> None:
    """An optimizer of named parameters gets named ones, and their names move with them."""
    model = nn.Linear(1, 1)
    optimizer = SGD([("w", model.weight)])
    arrange(model, optimizer, [["weight"], ["bias"]])
    assert [group["param_names"] for group in optimizer.param_groups] == [["w"], ["bias"]]

    state = {"state": {}, "param_groups": [{"params": [0, 1], "param_names": ["w", "b"], "lr": 0.1}]}
    assert in_order_of(state, [["w", "b"]], [["b", "w"]]) == {
        "state": {},
        "param_groups": [{"params": [1, 0], "param_names": ["b", "w"], "lr": 0.1}],
    }


@pytest.mark.parametrize(
    "state",
    [{}, {"inner": {}}, {"param_groups": 3}, {"param_groups": [{"state": {}}]}, {"param_groups": [], "state": 1}],
)
def test_other_states_are_left_as_they_are(state: dict[str, object]) -> None:
    """The state of an optimizer that holds another one has no groups in torch's form."""
    assert not has_groups(state)
    assert in_order_of(state, [["a", "b"]], [["b", "a"]]) is state
