"""Small PyTorch trainings."""

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.optim import SGD, Adam, AdamW, RMSprop, lr_scheduler, swa_utils
from torch.utils.data import DataLoader, TensorDataset

from trainbus.adapters.torch import TorchSubject

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
    """One training, created in the same way each time."""

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


TYPES = [torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.complex64, torch.bool, torch.uint8]
TYPES += [torch.int8, torch.int16, torch.int32, torch.int64, torch.uint16, torch.uint64, torch.float8_e4m3fn]


def same(one: Any, other: Any) -> bool:
    if isinstance(one, torch.Tensor):
        alike = (one.dtype, one.shape, one.stride()) == (other.dtype, other.shape, other.stride())
        bits = one.contiguous().flatten().view(torch.uint8), other.contiguous().flatten().view(torch.uint8)
        return alike and bool(torch.equal(*bits))
    if isinstance(one, dict):
        return type(one) is type(other) and list(one) == list(other) and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other) and type(one) is type(other)
