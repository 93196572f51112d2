"""PyTorch trainings as subjects: whole loops, checkpoints that go on to the bit, snapshots, wrappers, refusals."""

import copy
import random
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.optim import SGD, Adam, AdamW, RMSprop, lr_scheduler, swa_utils
from torch.utils.data import DataLoader, IterableDataset, TensorDataset
from torchmetrics import MetricCollection, classification, clustering, regression

import trainbus
from trainbus import CheckpointError, Run, SettingsError, UnknownDirection
from trainbus.adapters.torch import TorchSubject
from trainbus.capabilities import HasDirections, missing
from trainbus.plugins import EarlyStopping, ModelCheckpoint, ReduceLROnPlateau
from trainbus.testing import check_callback, check_subject

X = torch.linspace(-1, 1, 48).reshape(16, 3)
Y = X.sum(1, keepdim=True).sin()


def tiny(kind: str = "mlp") -> nn.Module:
    """Modules of 3 inputs and 1 output."""
    torch.manual_seed(0)
    if kind == "mlp":
        return nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 1))
    if kind == "noisy":
        return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Dropout(0.5), nn.Linear(4, 1))
    if kind == "tied":
        model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3), nn.Linear(3, 1))
        model[1].weight = model[0].weight
        return model
    if kind == "frozen":
        model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 1))
        model[0].requires_grad_(requires_grad=False)
        return model
    return nn.utils.parametrizations.weight_norm(nn.Linear(3, 1))


class Training:
    """One training, made anew in the same way each time."""

    def __init__(self, kind: str, optimizer: str, scheduler: str) -> None:
        self.model = tiny(kind)
        parameters = [each for each in self.model.parameters() if each.requires_grad]
        makers: dict[str, Callable[[Any], Any]] = {
            "SGD": lambda group: SGD(group, lr=0.05, momentum=0.9, nesterov=True),
            "Adam": lambda group: Adam(group, lr=0.01, amsgrad=True),
            "AdamW with tensor": lambda group: AdamW(group, lr=torch.tensor(0.01), foreach=False),
            "RMSprop": lambda group: RMSprop(group, lr=np.float64(0.01), centered=True),
        }
        if optimizer == "two":
            half = len(parameters) // 2
            self.optimizers = {"first": makers["SGD"](parameters[:half]), "second": makers["Adam"](parameters[half:])}
        else:
            self.optimizers = {"only": makers[optimizer](parameters)}
        schedules: dict[str, Callable[[Any], Any]] = {
            "StepLR": lambda each: lr_scheduler.StepLR(each, 2, 0.5),
            "OneCycleLR": lambda each: lr_scheduler.OneCycleLR(each, 0.05, 20),
            "MultiStepLR": lambda each: lr_scheduler.MultiStepLR(each, [1, 3]),
            "SequentialLR": lambda each: lr_scheduler.SequentialLR(
                each, [lr_scheduler.LinearLR(each), lr_scheduler.CosineAnnealingLR(each, 10)], [3]
            ),
        }
        made = {name: schedules[scheduler](each) for name, each in self.optimizers.items()} if scheduler else {}
        self.schedulers = made
        self.scaler = torch.amp.GradScaler("cpu", init_scale=4.0, growth_interval=2)
        self.average = swa_utils.AveragedModel(self.model)
        self.subject = TorchSubject(
            self.model,
            self.optimizers,
            scheduler=self.schedulers,
            scaler=self.scaler,
            extra={"average": self.average},
        )

    def train(self, epochs: int) -> list[float]:
        losses = []
        for _ in range(epochs):
            for x, y in DataLoader(TensorDataset(X, Y), batch_size=4, shuffle=True):
                jitter = random.random() + float(np.random.rand())  # noqa: NPY002 - as augmentations do
                loss = (self.model(x) - y * jitter).square().mean()
                for optimizer in self.optimizers.values():
                    optimizer.zero_grad()
                self.scaler.scale(loss).backward()
                for optimizer in self.optimizers.values():
                    self.scaler.step(optimizer)
                self.scaler.update()
                self.average.update_parameters(self.model)
                losses.append(loss.item())
            for scheduler in self.schedulers.values():
                scheduler.step()
        return losses


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
def test_a_restored_training_goes_on_to_the_bit(
    kind: str, optimizer: str, scheduler: str, before: int, suffix: str
) -> None:
    """Whatever was trained how, the one that a new process restores goes on exactly as the unbroken one."""
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
    """The plain calls that anybody knows read the files, into a model that knows nothing of trainbus."""
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
    """What `torch.save(model.state_dict(), path)` wrote is taken as weights."""
    torch.save(tiny().state_dict(), "plain.pt")
    model = tiny()
    nn.init.zeros_(model[0].weight)
    TorchSubject(model).load("plain.pt")

    assert torch.equal(model[0].weight, tiny()[0].weight)


def test_weights_alone_leave_the_rest_as_it_is() -> None:
    """Loading weights into a training keeps its optimizer's state and rate; a whole file loads into a bare model."""
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


def test_a_tensor_rate_is_loaded_in_place() -> None:
    """Who holds the rate's tensor, such as a captured CUDA graph, sees the rate that the file holds."""
    rate = torch.tensor(0.5)
    model = tiny()
    subject = TorchSubject(model, Adam(model.parameters(), lr=rate, foreach=False))
    subject.save(Path("model.pt"), weights_only=False)
    rate.fill_(0.25)
    subject.load("model.pt")

    assert (float(rate), subject.learning_rates()) == (0.5, {"learning_rate": 0.5})


def test_modules_see_the_version_that_wrote_their_weights() -> None:
    """A module that reads what an older version of its wrote is told that version, from a file and from memory."""
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


def test_a_scaler_that_was_off_leaves_one_that_is_on_as_it_is() -> None:
    """Mixed precision may be switched on for a training that began without."""
    off, on = (torch.amp.GradScaler("cpu", enabled=enabled, init_scale=8.0) for enabled in (False, True))
    TorchSubject(tiny(), scaler=off).save(Path("model.pt"), weights_only=False)
    TorchSubject(tiny(), scaler=on).load("model.pt")

    assert on.get_scale() == 8.0


def test_tied_weights_are_stored_once() -> None:
    """Two names of one tensor take the place of one, and are one again after loading."""
    model = nn.Sequential(nn.Linear(200, 200, bias=False), nn.Linear(200, 200, bias=False))
    model[1].weight = model[0].weight
    TorchSubject(model).save(Path("tied.pt"), weights_only=True)

    assert Path("tied.pt").stat().st_size < 1.2 * model[0].weight.nbytes
    found = torch.load("tied.pt", weights_only=True)
    assert found["0.weight"].data_ptr() == found["1.weight"].data_ptr()


@given(kind=st.sampled_from(KINDS), steps=st.integers(0, 3))
def test_a_snapshot_is_never_aliased(kind: str, steps: int) -> None:
    """Whatever is trained after it, a snapshot restores the model of its moment, and the optimizer still holds it."""
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


@pytest.mark.parametrize(
    "kind",
    [torch.float64, torch.float32, torch.bfloat16, torch.float8_e5m2, torch.complex64, torch.complex128, torch.bool],
)
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last], ids=str)
def test_snapshots_hold_tensors_of_every_type(kind: torch.dtype, layout: torch.memory_format) -> None:
    """A copy has the bits, the type, the shape and the layout of what it is a copy of, and its own memory."""
    model = nn.Module()
    model.register_buffer("kept", torch.randn(2, 3, 4, 5).to(kind).to(memory_format=layout))
    model.register_buffer("scalar", torch.tensor(1.5).to(kind))
    subject = TorchSubject(model)
    snapshot: Any = subject.snapshot()
    for name, tensor in model.named_buffers():
        copied = snapshot[name]
        assert (copied.dtype, copied.shape, copied.stride()) == (tensor.dtype, tensor.shape, tensor.stride())
        assert copied.data_ptr() != tensor.data_ptr()
        assert torch.equal(copied, tensor)


def test_the_subject_keeps_the_contract() -> None:
    """Names, rates, snapshots and files keep what trainbus.testing asks of every adapter."""
    check_subject(lambda: Training("noisy", "two", "").subject, _step)


def _step(subject: TorchSubject) -> None:
    loss = (subject.model(X) - Y).square().mean()
    loss.backward()
    for optimizer in subject.optimizers.values():
        optimizer.step()
        optimizer.zero_grad()


HISTORY = [{"loss": value, "val_loss": value} for value in (1.0, 0.5, 0.7, 0.7, 0.7, 0.4)]


@pytest.mark.parametrize(
    "callback",
    [
        EarlyStopping(patience=2, restore_best_weights=True),
        ModelCheckpoint("best-{epoch}", save_best_only=True),
        ReduceLROnPlateau(patience=1),
    ],
    ids=lambda callback: type(callback).__name__,
)
def test_callbacks_keep_their_contract_with_torch(callback: trainbus.Callback) -> None:
    """Each of the deciders works with a torch subject as with any other."""
    check_callback(callback, HISTORY, lambda: Training("mlp", "Adam", "StepLR").subject)


# --- loops


@pytest.mark.parametrize("found", [False, True], ids=["TorchSubject", "watch"])
def test_the_example_of_the_readme(found: bool, capsys: pytest.CaptureFixture[str]) -> None:
    """A plain loop over noise that cannot be learnt: rates are cut, the best is saved, and it stops early."""
    torch.manual_seed(0)
    model = tiny()
    optimizer = Adam(model.parameters(), lr=0.1)
    loader = DataLoader(TensorDataset(X, Y), batch_size=4, shuffle=True)
    val_loader = DataLoader(TensorDataset(X, torch.randn(16, 1)), batch_size=8)
    callbacks = [
        EarlyStopping(monitor="val_loss", patience=5, verbose=2, restore_best_weights=True),
        ModelCheckpoint("best", monitor="val_loss", verbose=1, save_best_only=True),
        ReduceLROnPlateau(monitor="val_loss", factor=0.1, patience=2, min_lr=1e-5),
    ]

    def validate() -> float:
        with torch.no_grad():
            return sum(nn.functional.mse_loss(model(x), y).item() for x, y in val_loader) / 2

    subject = TorchSubject(model, optimizer)
    opened = trainbus.watch(model, optimizer, callbacks=callbacks) if found else Run(subject, callbacks)
    with opened as run:
        assert isinstance(run.subject, TorchSubject)
        for _ in run.epochs(50):
            for x, y in run.batches(loader):
                loss = nn.functional.mse_loss(model(x), y)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                run.log(loss=loss, count=len(x))
            with run.validation(), torch.no_grad():
                for x, y in val_loader:
                    run.log(loss=nn.functional.mse_loss(model(x), y), count=len(x))

    result = run.result
    best = result.best["val_loss"]
    assert result.stopped
    assert best.epoch < result.epochs - 5 + 1
    assert min(result.learning_rates["learning_rate"]) < 0.1  # type: ignore[type-var]
    assert run.history["val_loss"][best.epoch] == best.value == min(run.history["val_loss"])
    assert validate() == pytest.approx(best.value, rel=1e-6)  # restored
    nn.init.zeros_(model[0].weight)
    model.load_state_dict(torch.load("best.pt", weights_only=True)["model"])
    assert validate() == pytest.approx(best.value, rel=1e-6)  # saved
    assert run.step == 4 * result.epochs


def test_a_stream_of_batches_without_a_length() -> None:
    """A DataLoader over an IterableDataset has no length; its batches and steps are counted all the same."""

    class Stream(IterableDataset[Tensor]):
        def __iter__(self) -> Iterator[Tensor]:
            return iter(X)

    with Run(TorchSubject(tiny()), EarlyStopping(monitor="loss", patience=2)) as run:
        for _ in run.epochs(2):
            for x in run.batches(DataLoader(Stream(), batch_size=5)):
                run.log(loss=x.sum())

    assert (run.state.planned_batches, run.step) == (None, 8)


@pytest.mark.parametrize("accumulate", [1, 2, 3])
def test_a_step_is_an_optimizer_step(accumulate: int) -> None:
    """Under gradient accumulation as many steps are counted as the optimizer makes."""
    model = tiny()
    optimizer = SGD(model.parameters(), lr=0.01)
    made: list[int] = []
    optimizer.register_step_post_hook(lambda *_: made.append(1))
    with Run(TorchSubject(model, optimizer)) as run:
        for _ in run.epochs(2):
            for batch, x in enumerate(run.batches(X.split(2), accumulate=accumulate)):
                (model(x).square().mean() / accumulate).backward()
                if (batch + 1) % accumulate == 0:
                    optimizer.step()
                    optimizer.zero_grad()

    assert run.step == len(made)


@pytest.mark.parametrize("training", [True, False])
def test_the_mode_of_the_model_and_the_random_state_are_left_alone(training: bool) -> None:
    """Saving, looking, remembering and restoring change neither train or eval mode nor any random generator."""
    subject = Training("noisy", "Adam", "OneCycleLR").subject
    subject.model.train(training)
    state = torch.get_rng_state(), random.getstate()
    for weights_only in (False, True):
        subject.save(Path("model.pt"), weights_only=weights_only)
    subject.restore(subject.snapshot())
    list(subject.weights())
    subject.graph()
    subject.learning_rates()

    assert torch.equal(torch.get_rng_state(), state[0])
    assert random.getstate() == state[1]
    assert all(module.training == training for module in subject.model.modules())


# --- refusals


def test_a_file_of_another_model_is_refused_and_changes_nothing() -> None:
    """Names and shapes that do not fit are told, with the nearest name, before anything is loaded."""
    torch.save({"0.weight": torch.zeros(4, 3), "0.biass": torch.zeros(4)}, "names.pt")
    torch.save({**tiny().state_dict(), "2.bias": torch.zeros(7)}, "shapes.pt")
    model = tiny()
    with pytest.raises(CheckpointError, match=r"lacks the weights '0.bias', '2.weight', '2.bias' \(it has '0.biass'\)"):
        TorchSubject(model).load("names.pt")
    with pytest.raises(CheckpointError, match=r"'2.bias' has the shape \(7,\) in the file and \(1,\) in the model"):
        TorchSubject(model).load("shapes.pt")

    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), tiny().parameters(), strict=True))


@pytest.mark.parametrize(
    ("make", "told"),
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
def test_a_file_of_another_training_is_refused_and_changes_nothing(make: Any, told: str) -> None:
    """Optimizers and schedulers of other names, classes or sizes are told before anything is loaded."""
    saved = tiny()
    nn.init.zeros_(saved[0].weight)
    TorchSubject(saved, Adam(saved.parameters())).save(Path("adam.pt"), weights_only=False)
    model = tiny()
    with pytest.raises(CheckpointError, match=told):
        TorchSubject(model, **make(model)).load("adam.pt")

    assert torch.equal(model[0].weight, tiny()[0].weight)


@pytest.mark.parametrize("name", ["missing.pt", "text.pt", "code.pt", "cut.pt", "list.pt"])
def test_a_file_that_is_no_checkpoint_is_told(name: str) -> None:
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
    """A state that torch.load(weights_only=True) refuses is told by its place; the file before it stays."""

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
def test_weights_without_values_are_told(model: nn.Module) -> None:
    """Lazy modules before their first batch, and modules on the meta device, have nothing to save, and no histogram."""
    subject = TorchSubject(model)
    with pytest.raises(CheckpointError, match=r"model\['weight'\] has no values yet"):
        subject.save(Path("model.pt"), weights_only=True)
    with pytest.raises(CheckpointError, match="no values yet"):
        subject.snapshot()

    assert list(subject.weights()) == []
    assert [node.kind for node in subject.graph()] == [type(model).__name__]


@pytest.mark.parametrize(
    ("arguments", "options", "told"),
    [
        (lambda: (SGD(tiny().parameters()), tiny()), {}, "SGD, no torch.nn.Module; did you swap"),
        (lambda: (tiny(), tiny().parameters()), {}, "optimizer 'optimizer' is of type generator"),
        (lambda: (tiny(), SGD), {}, "the class SGD"),
        (lambda: (tiny(), {"a": 3}), {}, "optimizer 'a' is of type int"),
        (lambda: (tiny(),), {"scheduler": "cosine"}, "scheduler 'scheduler' is of type str"),
        (lambda: (tiny(),), {"scaler": 1.0}, "scaler 'scaler' is of type float"),
        (lambda: (tiny(),), {"extra": {"seed": 3}}, "extra 'seed' is of type int"),
    ],
)
def test_wrong_arguments_are_told(arguments: Callable[[], Any], options: dict[str, Any], told: str) -> None:
    """What is no model, optimizer, scheduler or scaler is refused with what it is."""
    with pytest.raises(SettingsError, match=told):
        TorchSubject(*arguments(), **options)


# --- directions


class Scored(nn.Module):
    """A model with metric objects."""

    def __init__(self, **metrics: nn.Module) -> None:
        super().__init__()
        for name, metric in metrics.items():
            self.add_module(name, metric)


def test_directions_of_metric_objects() -> None:
    """A metric object tells its direction under its attribute's name; a flag that is wrong or missing tells nothing."""
    subject = TorchSubject(
        Scored(
            my_quality=regression.MeanSquaredError(),
            val_zeal=classification.BinaryAccuracy(),
            shape=clustering.DaviesBouldinScore(),
            spread=regression.PearsonCorrCoef(),
            collection=MetricCollection({"inner": classification.BinaryF1Score()}),
        )
    )
    wanted = {"my_quality": "min", "val_my_quality": "min", "val_zeal": "max", "shape": None, "spread": None}
    assert {name: subject.direction_of(name) for name in wanted} == wanted
    assert subject.direction_of("val_inner") == "max"
    with Run(subject, EarlyStopping(monitor="val_my_quality", patience=3)) as run:
        for epoch in run.epochs(2):
            run.log(val_my_quality=float(epoch))

    assert run.result.best["val_my_quality"].epoch == 0


def test_without_metric_objects_an_unclear_direction_is_refused_before_training() -> None:
    """Nothing but the name could tell, so the refusal need not wait for the first epoch."""
    subject = TorchSubject(tiny())
    assert missing(subject, HasDirections)
    with pytest.raises(UnknownDirection, match="mode="):
        Run(subject, EarlyStopping(monitor="my_thing"))
