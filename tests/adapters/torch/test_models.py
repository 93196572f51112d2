"""Tests of several models in one subject."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.optim import SGD, Adam

from trainbus import Run, SettingsError
from trainbus.adapters.torch import TorchSubject
from trainbus.plugins import EarlyStopping, ModelCheckpoint, ReduceLROnPlateau


def gan(*, compiled: bool = False) -> tuple[dict[str, nn.Module], dict[str, Any]]:
    """Return a generator and a discriminator with their optimizers."""
    torch.manual_seed(0)
    nets: dict[str, nn.Module] = {"netG": nn.Linear(2, 2), "netD": nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))}
    optimizers = {"optG": Adam(nets["netG"].parameters(), 0.1), "optD": SGD(nets["netD"].parameters(), 0.1, 0.9)}
    if compiled:
        nets = {name: torch.compile(net) for name, net in nets.items()}  # type: ignore[misc]
    return nets, optimizers


def trained(epochs: int, *callbacks: Any, resume: Any = None) -> tuple[dict[str, nn.Module], Run]:
    """Train both against each other."""
    nets, optimizers = gan()
    with Run(TorchSubject(nets, optimizers), callbacks, resume=resume) as run:
        for epoch in run.epochs(epochs):
            loss = (nets["netD"](nets["netG"](torch.randn(4, 2))) - epoch).square().mean()
            for each in optimizers.values():
                each.zero_grad()
            loss.backward()
            for each in optimizers.values():
                each.step()
            run.log(loss=loss.item())
    return nets, run


def weights(nets: dict[str, nn.Module]) -> list[torch.Tensor]:
    return [tensor for net in nets.values() for tensor in net.state_dict().values()]


@pytest.mark.parametrize("name", ["m-{epoch}", "m-{epoch}.ckpt", "m-{epoch}.dcp"])
@pytest.mark.parametrize("only", [False, True])
def test_several_models_resume_together(tmp_path: Path, name: str, only: bool) -> None:
    """All weights and the states of both optimizers are those of a run that was never interrupted."""
    whole, _ = trained(4)
    more = {"save_weights_only": True} if only else {}
    saver = ModelCheckpoint(str(tmp_path / name), keep_last=1, save_on=(), **more)
    first, _ = trained(2, saver)
    if only:
        fresh = TorchSubject(gan()[0])
        (path,) = (each for each in tmp_path.iterdir() if each.name.startswith("m-"))
        fresh.load(path)
        assert all(map(torch.equal, fresh.model.state_dict().values(), weights(first)))
        return
    resumed, run = trained(4, saver, resume="auto")
    assert run.resumed is not None
    assert all(map(torch.equal, weights(resumed), weights(whole)))
    assert len(run.result.checkpoints) == 1


def test_the_best_weights_of_all_models_are_restored() -> None:
    """Snapshots hold all models, and a cut changes the rates of all optimizers."""
    stopper = EarlyStopping(monitor="loss", mode="max", patience=9, restore_best_weights=True, start_from_epoch=1)
    cutter = ReduceLROnPlateau(monitor="loss", mode="min", patience=1)
    nets, run = trained(6, stopper, cutter)
    best = max(range(1, 6), key=lambda epoch: run.history["loss"][epoch])
    expected, _ = trained(best + 1, cutter)
    assert all(map(torch.equal, weights(nets), weights(expected)))
    assert {"learning_rate/optG", "learning_rate/optD"} <= set(run.history)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_names_are_those_of_the_models_without_wrappers() -> None:
    """Each name begins with that of its model, also if the models are compiled or wrapped."""
    plain, compiled = TorchSubject(gan()[0]), TorchSubject(gan(compiled=True)[0])
    names = [name for name, _ in plain.weights()]
    assert {name.partition("/")[0] for name in names} == {"netG", "netD"}
    assert names == [name for name, _ in compiled.weights()]
    wrapped = TorchSubject({name: nn.DataParallel(net) for name, net in gan()[0].items()})
    assert names == [name for name, _ in wrapped.weights()]


NET = nn.Linear(1, 1)


@pytest.mark.parametrize(
    ("models", "why"),
    [
        ({}, "model is an empty mapping"),
        ({"netG": 3}, "model 'netG' is .*, not a torch.nn.Module"),
        ({"netG": nn.Linear}, "model 'netG' is .*, not a torch.nn.Module"),
        ({"netG": Adam(NET.parameters())}, "model 'netG' is .*, not a torch.nn.Module"),
        ({"net.G": NET}, r"model 'net\.G': name a model by a word"),
        ({"": NET}, "model '': name a model by a word"),
        ({3: NET}, "model 3: name a model by a word"),
        ({"keys": NET}, "model 'keys': name a model by a word that torch.nn.ModuleDict does not use"),
        ({"training": NET}, "model 'training': name a model by a word"),
        ({"a": NET, "b": NET}, "models 'a' and 'b' are the same module"),
        ([NET], "model is .*, not a torch.nn.Module"),
    ],
)
def test_what_is_no_mapping_of_models_is_refused(models: Any, why: str) -> None:
    """The message names the model."""
    with pytest.raises(SettingsError, match=why):
        TorchSubject(models)


def test_a_probe_needs_one_model() -> None:
    """Several models have no common input."""
    with pytest.raises(SettingsError, match="probe= runs through one model"):
        TorchSubject(gan()[0], probe=torch.zeros(1, 2))
