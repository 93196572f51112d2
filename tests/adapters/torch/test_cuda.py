"""PyTorch trainings on a CUDA device: resumption, background saves, restored weights, no batch waits for the device."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import Tensor, nn
from torch.distributed.fsdp import fully_shard
from torch.optim import SGD, Adam, lr_scheduler
from torch.utils.data import DataLoader, TensorDataset

from trainbus import Run
from trainbus.adapters.shared.torch_rng import set_torch_random_state, torch_random_state
from trainbus.adapters.torch import TorchSubject
from trainbus.metrics.running_means import RunningMeans
from trainbus.plugins import EarlyStopping, ModelCheckpoint, ReduceLROnPlateau, TensorBoard, TerminateOnNaN

from .trainings import TYPES, same

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")

EPOCHS, BATCHES = 4, 6
X = torch.linspace(-1, 1, 96).reshape(24, 4)
Y = X.sum(1, keepdim=True).sin()


@pytest.mark.parametrize("bad", [0, 3, 5, 99])
def test_no_batch_waits_for_the_flags_of_nan(bad: int) -> None:
    """PyTorch raises an error where the host waits for the device, before anything is found."""
    with Run(None, TerminateOnNaN()) as run:
        for _ in run.epochs(1):
            for batch in run.batches(range(BATCHES)):
                waits = batch >= min(bad + 2, BATCHES - 1)  # its end reads the value for the message
                torch.cuda.set_sync_debug_mode("default" if waits else "error")
                run.log(loss=torch.full((), float("nan") if batch == bad else 1.0, device="cuda"))
    torch.cuda.set_sync_debug_mode("default")

    assert run.failures == []
    assert run.step == min(bad + 3, BATCHES)
    assert run.stopped == (bad < BATCHES)


class Interrupted(Exception):
    """Ends a training in the middle."""


class CudaTraining:
    """A model with dropout, drawn on the device, an optimizer with state, a schedule and a scaler."""

    def __init__(self, *, amp: bool = False) -> None:
        torch.manual_seed(3)
        self.model = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Dropout(0.3), nn.Linear(8, 1)).cuda()
        self.optimizer = Adam(self.model.parameters(), lr=0.01)
        self.scheduler = lr_scheduler.StepLR(self.optimizer, 2, 0.7)
        self.scaler = torch.amp.GradScaler("cuda", init_scale=8.0, growth_interval=3, enabled=amp)
        self.amp = amp
        self.subject = TorchSubject(
            self.model, self.optimizer, scheduler=self.scheduler, scaler=self.scaler if amp else None
        )

    def step(self, x: Tensor, y: Tensor) -> Tensor:
        self.optimizer.zero_grad()
        with torch.autocast("cuda", enabled=self.amp):
            loss = (self.model(x.cuda()) - y.cuda()).square().mean()
        self.scaler.scale(loss).backward()
        self.scaler.step(self.optimizer)
        self.scaler.update()
        return loss.detach()

    def step_on_device(self, x: Tensor, y: Tensor) -> Tensor:
        self.optimizer.zero_grad()
        loss = (self.model(x) - y).square().mean()
        loss.backward()
        self.optimizer.step()
        return loss.detach()

    def train(self, callbacks: Any, *, resume: Any = None, die_at: int | None = None) -> dict[str, list[float]]:
        loader = DataLoader(TensorDataset(X, Y), batch_size=4, shuffle=True)
        steps = 0
        with Run(self.subject, callbacks, resume=resume, verbose=0) as run:
            for _ in run.epochs(EPOCHS):
                for x, y in run.batches(loader):
                    run.log(loss=self.step(x, y), count=len(x))
                    steps += 1
                    if steps == die_at:
                        raise Interrupted
                self.scheduler.step()
        return {name: list(values) for name, values in run.history.items()}

    def weights(self) -> dict[str, Tensor]:
        return {name: value.cpu().clone() for name, value in self.model.state_dict().items()}


def equal(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.filterwarnings("ignore:Detected call of .lr_scheduler.step")  # resumed after the last batch of an epoch
@pytest.mark.parametrize("amp", [False, True], ids=["float32", "amp"])
@settings(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(die_at=st.integers(2, EPOCHS * BATCHES - 1))
def test_a_resumed_training_equals_the_unbroken_one_to_the_bit(amp: bool, tmp_path: Path, die_at: int) -> None:
    """Wherever it is interrupted, the history and the weights are those of a run that was never interrupted."""
    unbroken = CudaTraining(amp=amp)
    expected = unbroken.train([])
    folder = tmp_path / str(die_at)
    callbacks = [
        ModelCheckpoint(folder / "step-{step}.pt", save_freq=1, keep_last=2),
        EarlyStopping(monitor="loss", patience=9),
    ]
    with pytest.raises(Interrupted):
        CudaTraining(amp=amp).train(callbacks, die_at=die_at)
    torch.cuda.manual_seed(77)
    resumed = CudaTraining(amp=amp)
    assert resumed.train(callbacks, resume="auto") == expected
    assert equal(resumed.weights(), unbroken.weights())


@pytest.mark.parametrize("suffix", ["pt", "safetensors"])
def test_background_saves_hold_the_weights_of_their_epoch(suffix: str, tmp_path: Path) -> None:
    """The device's weights are copied before the next batch changes them, although a thread writes the file."""
    model = nn.Sequential(*[nn.Linear(512, 512) for _ in range(8)]).cuda()
    optimizer = SGD(model.parameters(), lr=0.1)
    kept: list[dict[str, Tensor]] = []
    saver = ModelCheckpoint(tmp_path / f"e{{epoch}}.{suffix}", monitor="loss", save_weights_only=True)
    x = torch.randn(64, 512, device="cuda")
    with Run(TorchSubject(model, optimizer), [saver], verbose=0) as run:
        for _ in run.epochs(4):
            for _ in run.batches(range(3)):
                loss = model(x).square().mean()
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                run.log(loss=loss)
            kept.append({name: value.cpu().clone() for name, value in model.state_dict().items()})
    other = nn.Sequential(*[nn.Linear(512, 512) for _ in range(8)])
    subject = TorchSubject(other)
    for epoch, expected in enumerate(kept, start=1):
        subject.load(tmp_path / f"e{epoch}.{suffix}")
        assert equal(dict(other.state_dict()), expected)


def test_the_best_weights_are_restored_on_the_device() -> None:
    """Early stopping keeps a copy of the best epoch, and restores it in place on the device."""
    training = CudaTraining()
    pointers = [each.data_ptr() for each in training.model.parameters()]
    best: dict[str, Tensor] = {}
    losses = [3.0, 1.0, 2.0, 2.5, 2.6]
    with Run(training.subject, EarlyStopping(monitor="loss", patience=2, restore_best_weights=True), verbose=0) as run:
        for epoch in run.epochs(5):
            training.step(X, Y)
            run.log(loss=losses[epoch])
            if epoch == 1:
                best = training.weights()
    assert run.stopped
    assert equal(training.weights(), best)
    assert [each.data_ptr() for each in training.model.parameters()] == pointers
    assert all(each.is_cuda for each in training.model.state_dict().values())


@pytest.fixture
def _no_waiting() -> Iterator[None]:
    yield
    torch.cuda.set_sync_debug_mode("default")


@pytest.mark.usefixtures("_no_waiting")
def test_no_batch_waits_for_the_device(tmp_path: Path) -> None:
    """Logging a tensor of the device, listening to batches and counting samples never synchronize with it."""
    training = CudaTraining()
    x, y = X.cuda(), Y.cuda()
    callbacks = [
        EarlyStopping(monitor="loss", patience=3),
        ReduceLROnPlateau(monitor="loss", patience=1),
        ModelCheckpoint(tmp_path / "best.pt", monitor="loss", save_best_only=True),
    ]
    with Run(training.subject, callbacks, verbose=0) as run:
        for _ in run.epochs(3):
            for _ in run.batches(range(5)):
                torch.cuda.set_sync_debug_mode("error")
                run.log(loss=training.step_on_device(x, y), accuracy=x.mean(), count=len(x))
            torch.cuda.set_sync_debug_mode("default")
    assert len(run.history["loss"]) == 3


@given(total=st.floats(-1e6, 1e6), count=st.integers(1, 1000))
def test_a_mean_of_the_device_is_that_of_the_cpu_to_the_bit(total: float, count: int) -> None:
    """A sum is divided on its device as on the CPU."""
    means = RunningMeans()
    means.load_sums({"m": (torch.tensor(total, dtype=torch.float64, device="cuda"), count)})
    assert means["m"] == total / count


def test_a_file_of_a_device_loads_on_the_cpu(tmp_path: Path) -> None:
    """Tensors are saved from the CPU, so that a machine without the device reads the file."""
    training = CudaTraining()
    training.train(ModelCheckpoint(tmp_path / "m.pt", monitor="loss"))
    state = torch.load(tmp_path / "m.pt", weights_only=True)

    def devices(value: Any) -> set[str]:
        if isinstance(value, Tensor):
            return {value.device.type}
        children = value.values() if isinstance(value, dict) else value if isinstance(value, (list, tuple)) else ()
        return {device for child in children for device in devices(child)}

    assert devices(state) == {"cpu"}


@pytest.mark.parametrize("saved", [0, 1, 3])
def test_generators_of_other_numbers_of_devices_are_restored_as_far_as_they_go(saved: int) -> None:
    """A state that was saved with fewer or more devices restores those that there are."""
    torch.cuda.manual_seed(5)
    state = torch_random_state()
    expected = torch.rand(4, device="cuda")
    state["cuda"] = [state["cuda"][0]] * saved
    torch.cuda.manual_seed(6)
    fresh = torch.rand(4, device="cuda")
    torch.cuda.manual_seed(6)
    set_torch_random_state(state)
    assert torch.equal(torch.rand(4, device="cuda"), expected if saved else fresh)


def test_a_cut_acts_inside_a_captured_graph() -> None:
    """The rate of a capturable optimizer is a tensor that the graph reads: a cut changes it in place."""
    weight = nn.Parameter(torch.ones(3, device="cuda"))
    optimizer = Adam([weight], lr=torch.tensor(0.5, device="cuda"), capturable=True)
    weight.grad = torch.ones_like(weight)
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        optimizer.step()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        optimizer.step()
    model = nn.ParameterList([weight])
    moved: list[float] = []
    plateau = ReduceLROnPlateau(monitor="loss", patience=1, factor=0.1)
    with Run(TorchSubject(model, optimizer), plateau, verbose=0) as run:
        for _ in run.epochs(3):
            before = weight.detach().clone()
            graph.replay()
            moved.append(float((before - weight.detach()).mean()))
            run.log(loss=1.0)
    assert moved == pytest.approx([0.5, 0.5, 0.05], rel=1e-4)


def test_tensorboard_records_weights_gradients_and_activations_of_a_device(tmp_path: Path) -> None:
    """Histograms, images, the graph and scalars are read from the device."""
    training = CudaTraining()
    training.subject = TorchSubject(training.model, training.optimizer, probe=[X.cuda()])
    board = TensorBoard(tmp_path, histogram_freq=1, write_images=True, write_grads=True)
    training.train(board)
    events = [path.parent for path in tmp_path.rglob("events*")]
    tags = [EventAccumulator(str(folder)).Reload().Tags() for folder in set(events)]
    names = {name for each in tags for name in (*each["tensors"], *each["histograms"], *each["scalars"])}
    assert any("weight" in name for name in names)


@pytest.fixture
def _nccl(tmp_path: Path) -> Iterator[None]:
    dist.init_process_group("nccl", init_method=f"file://{tmp_path}/rendezvous", rank=0, world_size=1)
    yield
    dist.destroy_process_group()


@pytest.mark.usefixtures("_nccl")
def test_a_process_group_of_nccl_trains_and_resumes(tmp_path: Path) -> None:
    """With NCCL, whose collectives take tensors of the device only, a wrapped model trains, saves and resumes."""

    def training() -> tuple[TorchSubject, Any]:
        torch.manual_seed(1)
        model = nn.parallel.DistributedDataParallel(nn.Linear(4, 1).cuda())
        return TorchSubject(model, SGD(model.parameters(), lr=0.1)), model

    def train(epochs: int, resume: str | None) -> list[Tensor]:
        subject, model = training()
        saver = ModelCheckpoint(tmp_path / "m.pt", monitor="loss")
        with Run(subject, saver, resume=resume, verbose=0) as run:
            for _ in run.epochs(epochs):
                for _ in run.batches(range(3)):
                    loss = (model(X.cuda()) - Y.cuda()).square().mean()
                    subject.optimizers["optimizer"].zero_grad()
                    loss.backward()
                    subject.optimizers["optimizer"].step()
                    run.log(loss=loss)
        return [each.detach().cpu().clone() for each in model.parameters()]

    expected = train(4, None)
    for path in tmp_path.glob("m.pt*"):
        path.unlink()
    train(2, None)
    assert all(map(torch.equal, train(4, "auto"), expected))


@pytest.mark.usefixtures("_nccl")
def test_a_sharded_model_trains_and_resumes(tmp_path: Path) -> None:
    """The shards of a device are written, also in the background, and read back to the bit."""

    def train(epochs: int, resume: str | None) -> list[Tensor]:
        torch.manual_seed(1)
        model = nn.Sequential(nn.Linear(4, 8), nn.Linear(8, 1)).cuda()
        fully_shard(model)
        optimizer = Adam(model.parameters(), lr=0.1)
        callbacks = [
            ModelCheckpoint(tmp_path / "m.dcp", monitor="loss"),
            EarlyStopping(monitor="loss", patience=9, restore_best_weights=True),
        ]
        with Run(TorchSubject(model, optimizer), callbacks, resume=resume, verbose=0) as run:
            for _ in run.epochs(epochs):
                for _ in run.batches(range(3)):
                    loss = (model(X.cuda()) - Y.cuda()).square().mean()
                    optimizer.zero_grad()
                    loss.backward()
                    optimizer.step()
                    run.log(loss=loss.detach())
        return [each.full_tensor().detach().cpu() for each in model.parameters()]

    expected = train(4, None)
    for path in tmp_path.glob("m.*"):
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    train(2, None)
    assert all(map(torch.equal, train(4, "auto"), expected))


@pytest.mark.parametrize("kind", TYPES, ids=str)
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last], ids=str)
def test_tensors_of_every_type_come_back_from_a_file(
    kind: torch.dtype, layout: torch.memory_format, tmp_path: Path
) -> None:
    """A file and a snapshot in memory have the bits, the shape and the layout of the device's tensor."""
    model = nn.Module()
    source = (torch.rand(2, 3, 4, 5) * 3).to(kind).cuda().to(memory_format=layout)
    model.register_buffer("kept", source.clone(memory_format=torch.preserve_format))
    model.register_buffer("scalar", torch.tensor(1).to(kind).cuda())
    subject = TorchSubject(model)
    subject.save(tmp_path / "m.pt", weights_only=False)
    snapshot = subject.snapshot()
    kept: Any = model.kept
    for back in (lambda: subject.load(tmp_path / "m.pt"), lambda: subject.restore(snapshot)):
        kept.zero_()
        back()
        assert same(kept.cpu(), source.cpu())


@pytest.mark.parametrize("reduce", ["mean", "sum", "max", "min", None])
def test_metrics_of_the_device_equal_those_of_the_cpu(reduce: Any) -> None:
    """Numbers and vectors, also torchmetrics', are reduced on the device as on the CPU."""
    values = torch.rand(7, 3, dtype=torch.float64)
    history = []
    for device in ("cpu", "cuda"):
        with Run(verbose=0) as run:
            for _ in run.epochs(2):
                for row in values.to(device):
                    run.log(number=row[0], vector=row, count=3, reduce=reduce)
        history.append(run.history)
    on_cpu, on_device = history
    assert on_cpu["number"] == on_device["number"]
    assert not any(vector.is_cuda for vector in on_device["vector"]), "a history would fill the device"
    assert all(map(torch.equal, on_cpu["vector"], on_device["vector"]))


def test_a_training_on_its_own_stream_is_copied_in_order(tmp_path: Path) -> None:
    """Saves inside ``torch.cuda.stream`` hold what that stream had computed, although its work was only queued."""
    stream = torch.cuda.Stream()
    model = nn.Linear(2048, 2048, bias=False).cuda()
    expected: list[Tensor] = []
    saver = ModelCheckpoint(tmp_path / "e{epoch}.pt", monitor="loss", save_weights_only=True)
    torch.cuda.synchronize()
    with torch.cuda.stream(stream), torch.no_grad(), Run(TorchSubject(model), saver, verbose=0) as run:
        for epoch in run.epochs(3):
            for _ in range(50):
                model.weight.copy_(model.weight @ torch.eye(2048, device="cuda") + 1e-3)
            run.log(loss=1.0 / (epoch + 1))
            expected.append(model.weight.detach().clone())
    stream.synchronize()
    other = nn.Linear(2048, 2048, bias=False)
    for epoch, weight in enumerate(expected, start=1):
        TorchSubject(other).load(tmp_path / f"e{epoch}.pt")
        assert torch.equal(other.weight.detach(), weight.cpu())


@pytest.mark.filterwarnings("ignore:.torch.jit.script_method. is deprecated:DeprecationWarning")  # of the compiler
def test_a_compiled_model_saves_the_names_of_the_plain_one(tmp_path: Path) -> None:
    """``torch.compile`` changes neither the names in the file nor the exact resumption."""
    for name in ("plain", "compiled"):
        training = CudaTraining()
        model: Any = torch.compile(training.model) if name == "compiled" else training.model
        training.subject = TorchSubject(model, training.optimizer, scheduler=training.scheduler)
        training.train(ModelCheckpoint(tmp_path / f"{name}.safetensors", monitor="loss", save_weights_only=True))
    plain, other = (load_file(tmp_path / f"{name}.safetensors") for name in ("plain", "compiled"))
    assert equal(plain, other)
