"""Tests of ``{part}``, and of what to write instead of it for several models."""

from typing import Any

import pytest
import torch
from torch import nn

from trainbus import Run, SettingsError
from trainbus.adapters.torch import TorchSubject
from trainbus.plugins import ModelCheckpoint


@pytest.mark.parametrize(
    "options",
    [
        {"filepath": "m-{part}"}, {"filepath": "run/{part}/m-{epoch}"}, {"filepath": "{part:s}-{epoch}"},
        {"filepath": "{run}/{part}", "save_weights_only": True}, {"filepath": "s3://bucket/{part}-{val_loss:.2f}.pt"},
        {"filepath": "m", "save_last": "last-{part}"}, {"filepath": "m", "save_on": {"end": "{part}"}},
        {"filepath": "{part:.2f}"},
    ],
)  # fmt: skip
def test_a_file_of_each_model_is_refused(options: dict[str, Any]) -> None:
    """When the callback is made, for one model and for several; the message says what works."""
    with pytest.raises(SettingsError) as caught:
        ModelCheckpoint(**options)
    if ":s}" not in options["filepath"]:  # that is no format of a number
        assert "leave {part} out: one file holds all models" in str(caught.value)
        assert "content=lambda run: net.state_dict()" in str(caught.value)


@pytest.mark.parametrize("filepath", ["{parts}-{epoch}", "m-{{part}}", "part/m", "{val/part}"])
def test_other_names_are_no_such_field(filepath: str) -> None:
    """Metrics with similar names, and plain text."""
    assert ModelCheckpoint(filepath).filepath == filepath


@pytest.mark.parametrize("background", [False, True])
def test_a_file_of_each_model_by_its_content(background: bool) -> None:
    """As the message says: each file loads into its model, and a resume from any of them is that of the whole run."""
    listed = [
        ModelCheckpoint("run/{epoch}-all", keep_last=1, background=background),
        *(
            ModelCheckpoint(f"run/{{epoch}}-{name}", keep_last=1, save_on=(), background=background, content=content)
            for name, content in {
                "netG": lambda run: run.subject.model["netG"].state_dict(),
                "netD": lambda run: run.subject.model["netD"].state_dict(),
            }.items()
        ),
    ]

    def trained(epochs: int, resume: str | None = None) -> tuple[dict[str, nn.Module], Run]:
        torch.manual_seed(0)
        nets: dict[str, nn.Module] = {"netG": nn.Linear(2, 2), "netD": nn.Linear(2, 1)}
        optimizers = {name: torch.optim.Adam(net.parameters()) for name, net in nets.items()}
        with Run(TorchSubject(nets, optimizers), listed, resume=resume, verbose=0) as run:
            for _ in run.epochs(epochs):
                loss = nets["netD"](nets["netG"](torch.randn(4, 2))).square().mean()
                loss.backward()
                for each in optimizers.values():
                    each.step()
                    each.zero_grad()
                run.log(loss=loss.item())
        return nets, run

    nets, run = trained(2)
    assert sorted(path.name for path in run.result.checkpoints) == ["2-all.pt", "2-netD.pt", "2-netG.pt"]
    whole = torch.load("run/2-all.pt")["model"]
    for name, net in nets.items():
        found = torch.load(f"run/2-{name}.pt")
        assert found.keys() == net.state_dict().keys()
        assert all(torch.equal(found[each], whole[f"{name}.{each}"]) for each in found)
        net.load_state_dict(found)
    resumed = trained(4, "auto")[1]
    assert sorted(path.name for path in resumed.result.checkpoints) == ["4-all.pt", "4-netD.pt", "4-netG.pt"]
    assert trained(6, "run/4-netD.pt")[1].history == trained(6)[1].history
