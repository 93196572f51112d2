"""The sharded layout of a training's state: in one process it holds all of it; tests/distributed has several."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from typing import Any

import pytest
import torch
import torch.distributed as dist
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, Shard, init_device_mesh

from trainbus import Run, SettingsError
from trainbus.adapters.torch import TorchSubject
from trainbus.adapters.torch.parameter_names import parameter_names
from trainbus.adapters.torch.sharding import (
    RANKS,
    ShardedLayout,
    from_sharded,
    is_fsdp1,
    is_sharded,
    placement_of,
    sharded_like,
)
from trainbus.adapters.torch.weights import weights_of
from trainbus.plugins import ModelCheckpoint

from .trainings import X, same, tiny

PLAIN = st.none() | st.booleans() | st.integers() | st.text(max_size=3)
TENSORS = st.builds(torch.full, st.just((2,)), st.integers(0, 9))
KEYS = PLAIN | st.floats(allow_nan=False, allow_infinity=False) | st.tuples(st.integers(), st.none())
STATES = st.recursive(
    PLAIN | TENSORS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(KEYS | st.text(st.sampled_from("ab.:"), max_size=3), inner, max_size=3)
    ),
    max_leaves=8,
)
"""Nested states of other objects, with and without tensors, under names and numbers."""


def state_of(model: nn.Module, optimizers: dict[str, Any], extra: Any = None) -> dict[str, Any]:
    """Return a complete state as a file holds it."""
    return {
        "trainbus": {
            "format": 1,
            "classes": {"optimizers": {name: type(each).__name__ for name, each in optimizers.items()}},
        },
        "model": weights_of(model),
        "optimizers": {name: each.state_dict() for name, each in optimizers.items()},
        "schedulers": {},
        "scaler": {},
        "extra": {"extra": extra},
        "random": {"torch": torch.get_rng_state()},
    }


def layout_of(model: nn.Module, optimizers: dict[str, Any]) -> ShardedLayout:
    """Return the layout of a state of the model and the optimizers."""
    return ShardedLayout(model, {name: parameter_names(model, each) for name, each in optimizers.items()})


def trained(kind: str = "mlp") -> tuple[nn.Module, dict[str, Any]]:
    """Return a model and its optimizers after a step, each with a part of the parameters."""
    model = tiny(kind)
    parameters = [each for each in model.parameters() if each.requires_grad]
    half = (len(parameters) + 1) // 2
    optimizers: dict[str, Any] = {"first": torch.optim.Adam(parameters[:half])}
    if parameters[half:]:
        optimizers["second"] = torch.optim.SGD(parameters[half:], lr=0.1, momentum=0.9)
    model(X).sum().backward()
    for each in optimizers.values():
        each.step()
    return model, optimizers


@given(extra=STATES)
@pytest.mark.parametrize("kind", ["mlp", "noisy", "tied", "frozen", "weight_norm"])
def test_a_state_is_the_same_after_the_sharded_layout(kind: str, extra: Any) -> None:
    """Whatever other objects hold: DCP alone would change keys that are numbers and drop empty mappings."""
    model, optimizers = trained(kind)
    state = state_of(model, optimizers, extra)
    found = from_sharded(layout_of(model, optimizers).to_sharded(state), model, optimizers)

    assert found.pop("own") == (state["random"], {})
    assert found.pop("trainbus").items() >= state.pop("trainbus").items()
    del state["random"]
    versions = found["model"]._metadata, state["model"]._metadata
    assert list(versions[0].items()) == list(versions[1].items())
    for kind_of_state, value in state.items():
        assert same(_ordered(found[kind_of_state]), _ordered(value)), kind_of_state


def _ordered(value: Any) -> Any:
    return dict(value) if isinstance(value, OrderedDict) else value


def test_an_optimizers_state_is_under_the_names_of_its_parameters() -> None:
    """As ``torch.distributed.checkpoint.state_dict`` has it; under numbers if the model lacks one of them."""
    model, optimizers = trained()
    own = nn.Parameter(torch.ones(1))
    foreign = {"first": torch.optim.SGD([model[0].weight, own], lr=0.1, momentum=0.9)}
    own.grad = torch.ones(1)
    foreign["first"].step()
    sharded = layout_of(model, optimizers).to_sharded(state_of(model, optimizers))["optimizers"]
    other = layout_of(model, foreign).to_sharded(state_of(model, foreign))["optimizers"]

    assert sharded["first"]["state"].keys() == {"0.weight", "0.bias"}
    assert sharded["second"]["param_groups"][0]["params"] == ["2.weight", "2.bias"]
    assert other["first"]["state"].keys() == {"0", "1"}


def test_weights_alone_are_a_plain_state_dict() -> None:
    """Their names are the model's, and they get its versions back."""
    model = tiny("noisy")
    weights = weights_of(model)
    sharded = layout_of(model, {}).to_sharded(weights)
    found = from_sharded(sharded, tiny("noisy"), {})

    assert list(sharded) == list(weights)
    assert list(found) == list(weights)
    assert vars(found)["_metadata"] == vars(weights)["_metadata"]


def test_another_number_of_ranks_has_no_state_of_its_own() -> None:
    """Each rank's random state and buffers fit only the rank that wrote them."""
    model, optimizers = trained()
    sharded = layout_of(model, optimizers).to_sharded(state_of(model, optimizers))
    tag, header = sharded["trainbus"]
    assert header["ranks"] == 1
    sharded["trainbus"] = (tag, {**header, "ranks": 4})
    found = from_sharded(sharded, model, optimizers)

    assert RANKS in sharded
    assert found["own"] is None


def test_kinds_that_a_directory_lacks_are_empty() -> None:
    """DCP drops a mapping without values."""
    model, optimizers = trained()
    sharded = layout_of(model, optimizers).to_sharded(state_of(model, optimizers))
    for kind in ("schedulers", "scaler", "extra"):
        del sharded[kind]
    found = from_sharded(sharded, model, optimizers)

    assert [found[kind] for kind in ("schedulers", "scaler", "extra")] == [{}, {}, {}]


@pytest.fixture
def mesh() -> Iterator[Any]:
    """One process over which tensors are sharded."""
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    yield init_device_mesh("cpu", (1,))
    dist.destroy_process_group()


def test_only_tensors_with_a_sharding_are_sharded(mesh: Any) -> None:
    """And modules with such parameters; a part has the sharding of the tensor that it is a part of."""
    sharded = DTensor.from_local(torch.ones(4, 2), mesh, [Shard(0)])
    model = fully_shard(tiny(), mesh=mesh)
    part = sharded_like(torch.zeros(4, 2), sharded)

    assert [is_sharded(each) for each in (sharded, part, model)] == [True] * 3
    assert [is_sharded(each) for each in (torch.ones(1), tiny(), "text", None)] == [False] * 4
    assert (part.placements, part.device_mesh) == (sharded.placements, sharded.device_mesh)  # type: ignore[attr-defined]
    assert torch.equal(part.to_local(), torch.zeros(4, 2))  # type: ignore[attr-defined]
    assert not is_fsdp1(model)


@pytest.mark.parametrize("whole", [True, False])
def test_a_model_is_sharded_also_while_its_weights_are_gathered(mesh: Any, whole: bool) -> None:
    """As after a validation, and while another thread asks: files keep the format that all ranks can read."""
    model: Any = tiny()
    for part in (model,) if whole else (model[0], model):
        fully_shard(part, mesh=mesh)
    with torch.no_grad():
        model(X)

    assert is_sharded(model)
    assert TorchSubject(model).suffixes(weights_only=True) == (".dcp",)


def test_sharded_models_have_no_file_each(mesh: Any) -> None:
    """Also if only one of them is sharded; the message says what to leave out."""
    subject = TorchSubject({"netG": fully_shard(tiny(), mesh=mesh), "netD": tiny()})
    why = r"its weights are sharded over the ranks, which write one directory together; leave \{part\} out"
    with pytest.raises(SettingsError, match=why):
        Run(subject, ModelCheckpoint("run/{part}-{epoch}"))


def test_a_restored_tensor_has_the_sharding_of_this_training(mesh: Any) -> None:
    """Weights, and an optimizer's state as its parameters; what is not sharded has none."""
    model = fully_shard(tiny("noisy"), mesh=mesh)
    optimizers = {"only": torch.optim.Adam(model.parameters())}
    like = placement_of({"model": weights_of(model), "extra": {"a": torch.ones(1)}}, model, optimizers)

    assert like(("model", "0.weight")) is weights_of(model)["0.weight"] or is_sharded(like(("model", "0.weight")))
    assert like(("optimizers", "only", "state", "0.weight", "exp_avg")) is model[0].weight
    for path in (
        ("model", "1.running_mean"),
        ("model", "missing"),
        ("extra", "a"),
        ("extra", "a", "deeper"),
        ("optimizers", "only", "param_groups"),
        ("optimizers", "other", "state", "0.weight", "exp_avg"),
        ("optimizers", "only", "state", "missing", "exp_avg"),
    ):
        assert like(path) is None


def test_buffers_of_a_sharded_model_are_the_ranks_own(mesh: Any) -> None:
    """Each rank has other moving statistics: they are stored with its random state."""
    model = fully_shard(tiny("noisy"), mesh=mesh)
    state = state_of(model, {})
    sharded = layout_of(model, {}).to_sharded(state)
    ((rank, (random, buffers)),) = sharded[RANKS].items()

    assert (rank, random) == ("0", state["random"])
    assert buffers.keys() == {"1.running_mean", "1.running_var", "1.num_batches_tracked"}
