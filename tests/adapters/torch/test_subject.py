"""PyTorch trainings as subjects: complete loops, exact resumption, snapshots, wrappers, refusals."""

import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.optim import SGD, Adam
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

import trainbus
from trainbus import Run, SettingsError
from trainbus.adapters.torch import TorchSubject
from trainbus.plugins import EarlyStopping, ModelCheckpoint, ReduceLROnPlateau
from trainbus.testing import check_callback, check_subject

from .trainings import Training, X, Y, tiny


@pytest.mark.parametrize(
    "kind",
    [torch.float64, torch.float32, torch.bfloat16, torch.float8_e5m2, torch.complex64, torch.complex128, torch.bool],
)
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last], ids=str)
def test_snapshots_hold_tensors_of_every_type(kind: torch.dtype, layout: torch.memory_format) -> None:
    """A copy has the bits, dtype, shape and layout of its source, and its own memory."""
    model = nn.Module()
    model.register_buffer("kept", torch.randn(2, 3, 4, 5).to(kind).to(memory_format=layout))
    model.register_buffer("scalar", torch.tensor(1.5).to(kind))
    subject = TorchSubject(model)
    snapshot: Any = subject.snapshot()
    for name, tensor in model.named_buffers():
        copied = snapshot.weights[name]
        assert (copied.dtype, copied.shape, copied.stride()) == (tensor.dtype, tensor.shape, tensor.stride())
        assert copied.data_ptr() != tensor.data_ptr()
        assert torch.equal(copied, tensor)


def test_the_subject_keeps_the_contract() -> None:
    """Names, rates, snapshots and files pass the checks that trainbus.testing has for every adapter."""
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
@pytest.mark.exhaustive
def test_callbacks_keep_their_contract_with_torch(callback: trainbus.Callback) -> None:
    """Each of the deciders works with a torch subject as with any other."""
    check_callback(callback, HISTORY, lambda: Training("mlp", "Adam", "StepLR").subject)


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
def test_the_mode_of_the_model_and_the_random_state_do_not_change(training: bool) -> None:
    """Saving, inspecting, snapshots and restoring change neither train/eval mode nor any random generator."""
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


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        (lambda: (SGD(tiny().parameters()), tiny()), {}, "SGD, not a torch.nn.Module; did you swap"),
        (lambda: (tiny(), tiny().parameters()), {}, "optimizer 'optimizer' is of type generator"),
        (lambda: (tiny(), SGD), {}, "the class SGD"),
        (lambda: (tiny(), {"a": 3}), {}, "optimizer 'a' is of type int"),
        (lambda: (tiny(),), {"scheduler": "cosine"}, "scheduler 'scheduler' is of type str"),
        (lambda: (tiny(),), {"scaler": 1.0}, "scaler 'scaler' is of type float"),
        (lambda: (tiny(),), {"extra": {"seed": 3}}, "extra 'seed' is of type int"),
    ],
)
def test_wrong_arguments_are_refused(arguments: Callable[[], Any], options: dict[str, Any], message: str) -> None:
    """Wrong objects are refused with their position and type."""
    with pytest.raises(SettingsError, match=message):
        TorchSubject(*arguments(), **options)


@pytest.mark.parametrize("background", [None, False])
@pytest.mark.parametrize("suffix", [".pt", ".dcp"])
def test_the_save_of_a_subclass_is_called_for_every_checkpoint(background: bool | None, suffix: str) -> None:
    """A subclass that overrides ``save`` writes what it says, also where files are written in the background."""
    saved: list[str] = []

    class Noted(TorchSubject):
        def save(self, path: str | Path, *, weights_only: bool) -> object:
            saved.append(Path(path).suffix)
            return super().save(path, weights_only=weights_only)

    options = {} if background is None else {"background": background}
    with Run(Noted(tiny()), ModelCheckpoint(f"run/newest{suffix}", **options), verbose=0) as run:
        for _ in run.epochs(2):
            run.log(loss=1.0)

    assert len(saved) == 2


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda subject, _: subject.replace(), "replace: the argument 'optimizer' is missing"),
        (lambda subject, _: subject.replace(None), "replace(None): give the optimizers"),
        (lambda subject, new: subject.replace(new, new), "give schedulers by name: replace(optimizer, scheduler="),
        (lambda subject, new: subject.replace(new, scaler=None), "replace: unknown argument 'scaler'"),
        (lambda subject, new: subject.replace(new, sheduler=None), "did you mean 'scheduler'?"),
        (
            lambda subject, _: subject.save(),
            "save: the argument 'path' is missing; give it: save(path, weights_only=...)",
        ),
        (lambda subject, _: subject.save("m.pt"), "save: the argument 'weights_only' is missing"),
        (lambda subject, _: subject.save("m.pt", True), "save takes only path by position"),
        (lambda subject, _: subject.load(), "load: the argument 'path' is missing"),
    ],
)
def test_each_wrong_call_of_a_subject_is_one_line_with_the_right_one(call: Any, sentence: str) -> None:
    """And its optimizers are as they were."""
    model = nn.Linear(2, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    subject = TorchSubject(model, optimizer)
    with pytest.raises(SettingsError) as raised:
        call(subject, torch.optim.SGD(model.parameters(), lr=0.1))

    assert sentence in str(raised.value)
    assert "\n" not in str(raised.value)
    assert subject.optimizers == {"optimizer": optimizer}
