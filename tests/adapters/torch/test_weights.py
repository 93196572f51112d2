"""Weights and modules have the names that they would have without wrappers."""

import datetime
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.distributed as dist
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from trainbus.adapters.torch import TorchSubject
from trainbus.adapters.torch.weights import as_array, is_numeric, weights_of, weights_of_part
from trainbus.plugins.tensorboard.writer.histogram import histogram


def plain() -> nn.Sequential:
    """A model with another inside."""
    torch.manual_seed(0)
    block = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3))
    return nn.Sequential(block, nn.Linear(3, 1))


@pytest.fixture(scope="module")
def _one_process() -> Iterator[None]:
    dist.init_process_group(
        "gloo", store=dist.HashStore(), rank=0, world_size=1, timeout=datetime.timedelta(seconds=30)
    )
    yield
    dist.destroy_process_group()


def compiled(model: nn.Module) -> nn.Module:
    return torch.compile(model, backend="eager")  # type: ignore[return-value]


def compiled_inside(model: nn.Module) -> nn.Module:
    model[0] = compiled(model[0])  # type: ignore[index, operator]
    return model


WRAPPERS: dict[str, Callable[[nn.Module], nn.Module]] = {
    "DataParallel": nn.DataParallel,
    "DistributedDataParallel": nn.parallel.DistributedDataParallel,
    "compiled": compiled,
    "compiled inside": compiled_inside,
    "compiled DDP": lambda model: compiled(nn.parallel.DistributedDataParallel(model)),
    "DDP compiled inside and out": lambda model: nn.parallel.DistributedDataParallel(compiled(compiled_inside(model))),
}


@pytest.mark.usefixtures("_one_process")
@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_names_are_those_of_the_model_without_wrappers(wrapper: str) -> None:
    """A wrapped model has the names, the graph and the files of the plain one, which loads them, and the reverse."""
    wrapped = WRAPPERS[wrapper](plain())
    wrapped(torch.randn(8, 3)).sum().backward()  # moves the running statistics
    subject, bare = TorchSubject(wrapped), TorchSubject(plain())
    subject.save(Path("wrapped.pt"), weights_only=True)
    model = plain()
    model.load_state_dict(torch.load("wrapped.pt", weights_only=True))

    assert [name for name, _ in subject.weights()] == [name for name, _ in bare.weights()]
    assert subject.graph() == bare.graph()
    np.testing.assert_array_equal(model[0][1].running_mean, dict(subject.weights())["0/1/running_mean"])
    bare.save(Path("bare.pt"), weights_only=False)
    subject.load("bare.pt")
    for (name, a), (_, b) in zip(subject.weights(), bare.weights(), strict=True):
        np.testing.assert_array_equal(a, b, err_msg=name)
    snapshot = subject.snapshot()
    bare.restore(snapshot)


def test_a_submodule_called_module_keeps_its_name() -> None:
    """Only wrappers are seen through, not every attribute that is named as theirs."""

    class Holder(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.module = nn.Linear(1, 1, bias=False)

    assert [name for name, _ in TorchSubject(nn.DataParallel(Holder())).weights()] == ["module/weight"]


def test_the_versions_of_modules_are_kept() -> None:
    """A file has the version numbers that modules need to read weights of their older versions."""
    TorchSubject(nn.DataParallel(plain())).save(Path("model.pt"), weights_only=True)
    found = torch.load("model.pt", weights_only=True)

    assert found._metadata == plain().state_dict()._metadata  # type: ignore[attr-defined]


def test_weights_are_what_training_changes() -> None:
    """Parameters and running statistics, tied ones once; neither counters nor non-persistent buffers."""
    model = plain()
    model.register_buffer("positions", torch.arange(3))
    model.register_buffer("cache", torch.zeros(3), persistent=False)
    model.add_module("tied", nn.Linear(3, 3, bias=False))
    model.tied.weight = model[0][0].weight  # type: ignore[index, union-attr]

    assert [name for name, _ in TorchSubject(model).weights()] == [
        "0/0/weight",
        "0/0/bias",
        "0/1/weight",
        "0/1/bias",
        "1/weight",
        "1/bias",
        "0/1/running_mean",
        "0/1/running_var",
    ]


@pytest.mark.parametrize("kind", [torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.float8_e5m2])
def test_weights_of_every_precision_become_arrays(kind: torch.dtype) -> None:
    """Values are exact, in a type that NumPy has, and cannot be written through."""
    layer = nn.Linear(2, 2, bias=False)
    values = torch.tensor([[0.5, -2.0], [0.0, 4.0]])
    layer.weight = nn.Parameter(values.to(kind), requires_grad=False)
    ((_, array),) = TorchSubject(layer).weights()

    np.testing.assert_array_equal(array, values.numpy())
    assert array.dtype == (np.float64 if kind is torch.float64 else np.float32)
    with pytest.raises(ValueError, match="read-only"):
        array[0, 0] = 1.0


def test_a_complex_weight_is_a_pair_of_numbers() -> None:
    """Real and imaginary parts are on a last axis."""
    layer = nn.Module()
    layer.weight = nn.Parameter(torch.tensor([1 + 2j]))
    ((_, array),) = TorchSubject(layer).weights()

    np.testing.assert_array_equal(array, [[1, 2]])


TYPES = [torch.bfloat16, torch.float16, torch.float32, torch.float64, torch.float8_e4m3fn, torch.float8_e5m2]
MADE: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "strided": lambda tensor: tensor,
    "turned": lambda tensor: tensor.T,
    "gradient": lambda tensor: tensor.clone().requires_grad_(),
    "coo": lambda tensor: tensor.to_sparse(),
    "csr": lambda tensor: tensor.to_sparse_csr(),
}
VALUES = st.lists(st.floats(width=16), max_size=24)


@pytest.mark.filterwarnings("ignore:Sparse CSR tensor support is in beta state")
@given(VALUES, st.sampled_from(TYPES), st.sampled_from(sorted(MADE)))
def test_tensors_of_every_type_and_layout_become_arrays(values: list[float], dtype: torch.dtype, made: str):
    """The histogram of each has the statistics that NumPy computes of its values, zeros and infinities included."""
    tensor = torch.tensor(values, dtype=torch.float32).reshape(-1, 1).to(dtype)
    if made in ("coo", "csr") and dtype in (torch.float8_e4m3fn, torch.float8_e5m2):
        made = "strided"  # PyTorch has no such ones
    tensor = MADE[made](tensor)
    assert is_numeric(tensor)
    array = as_array(tensor, copied=True)
    wanted = tensor.detach().to_dense().to(torch.float64) if made in ("coo", "csr") else tensor.detach().double()
    finite = wanted[wanted.isfinite()].numpy()
    found = histogram(array)
    assert array.shape == tensor.shape
    assert (found is None) == (finite.size == 0)
    if found is not None:
        assert (found.minimum, found.maximum, found.size) == (finite.min(), finite.max(), finite.size)
        np.testing.assert_allclose(found.total, finite.sum(), rtol=1e-12, atol=1e-12 * np.abs(finite).sum())
        np.testing.assert_allclose(found.squares, (finite**2).sum(), rtol=1e-12)
        assert found.counts.sum() == finite.size


@given(st.lists(st.floats(-100, 100), min_size=1, max_size=20), st.floats(0.01, 10))
def test_quantized_tensors_become_the_numbers_that_they_represent(values: list[float], scale: float):
    """The numbers are those of ``dequantize``."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tensor = torch.quantize_per_tensor(torch.tensor(values), scale, 3, torch.qint8)
    assert is_numeric(tensor)
    np.testing.assert_array_equal(as_array(tensor), tensor.dequantize().numpy())


def test_nested_tensors_and_views_become_arrays():
    """Rows of different lengths follow one another; a conjugated or negated view shows its resolved values."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        nested = torch.nested.nested_tensor([torch.ones(2), torch.zeros(3)], layout=torch.jagged)
    np.testing.assert_array_equal(as_array(nested), [1, 1, 0, 0, 0])
    turned = torch.tensor([1 + 2j]).conj()
    np.testing.assert_array_equal(as_array(turned), [[1, -2]])
    np.testing.assert_array_equal(as_array(turned.imag), [-2])


@pytest.mark.parametrize("tensor", [torch.ones(2, device="meta"), torch.ones(2, dtype=torch.int64), torch.ones(2) > 0])
def test_integers_and_booleans_are_left_out(tensor: torch.Tensor):
    """Tensors without values, counters and masks are no numbers to count; a model with some is shown without them."""
    model = plain()
    model.register_buffer("more", tensor)
    assert not is_numeric(tensor)
    assert [name for name, _ in TorchSubject(model).weights()] == [name for name, _ in TorchSubject(plain()).weights()]


def test_the_weights_of_one_of_several_models_are_its_state_dict() -> None:
    """Names, versions of modules and buffers; a model whose name begins with another's is not part of it."""
    nets = {"net": nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2)), "net2": nn.Linear(2, 1), "empty": nn.ReLU()}
    together = weights_of(nn.DataParallel(nn.ModuleDict(nets)))
    for name, net in nets.items():
        found = weights_of_part(together, name)
        assert list(found) == list(net.state_dict())
        assert vars(found)["_metadata"] == vars(net.state_dict())["_metadata"]
        net.load_state_dict(found)
