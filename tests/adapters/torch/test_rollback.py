"""What a failed load leaves behind."""

import pytest
import torch
from torch import nn
from torch.optim import SGD

from trainbus.adapters.torch.components import TrainingComponents
from trainbus.adapters.torch.rollback import undone_on_error

from .trainings import same


@pytest.mark.parametrize(
    "model", [nn.Linear(2, 2), nn.BatchNorm1d(2), nn.LazyLinear(2)], ids=lambda each: type(each).__name__
)
@pytest.mark.parametrize("error", [None, ValueError, KeyboardInterrupt])
def test_an_error_undoes_everything(model: nn.Module, error: type[BaseException] | None) -> None:
    """Weights, flags and groups are as before if the block raises, and stay changed if it does not."""
    for each in model.parameters():
        each.requires_grad = False
    held = nn.Linear(1, 1)
    optimizer = SGD(held.parameters(), lr=0.5)
    components = TrainingComponents({"optimizer": optimizer}, {}, {}, {"held": held})
    values = {name: each.clone() for name, each in held.state_dict().items()}

    def change() -> None:
        with undone_on_error(model, components, components.kinds):
            nn.init.constant_(held.weight, 9.0)
            optimizer.param_groups[0]["lr"] = 0.1
            optimizer.add_param_group({"params": [torch.zeros(1, requires_grad=True)]})
            for each in model.parameters():
                each.requires_grad = True
            if error:
                raise error

    if error is None:
        change()
    else:
        with pytest.raises(error):
            change()

    assert same(dict(held.state_dict()), values) == (error is not None)
    assert [group["lr"] for group in optimizer.param_groups] == ([0.5] if error else [0.1, 0.5])
    assert all(each.requires_grad == (error is None) for each in model.parameters())
