"""Tests of the profile."""

import json
import sys
from pathlib import Path

import pytest
import torch

from trainbus import MissingDependency, Run
from trainbus.plugins import TensorBoard

from ..event_readers import scalars


def test_the_profiler_records_the_requested_updates():
    """One trace is written, of the operations between the two weight updates and no others."""
    with Run(None, TensorBoard("logs", profile="3:4")) as run:
        for _ in run.epochs(2):
            for batch in run.batches(range(4)):
                torch.ones(2 + batch, 7) @ torch.ones(7, 3)
    (trace,) = Path("logs/train").glob("*.pt.trace.json")
    events = json.loads(trace.read_text())["traceEvents"]
    shapes = {str(event["args"]["Input Dims"]) for event in events if event.get("name") == "aten::mm"}
    assert shapes == {"[[4, 7], [7, 3]]", "[[5, 7], [7, 3]]"}
    assert not any(tag.startswith("batch_") for _, tag, _ in scalars())


def test_the_users_own_profile_continues():
    """A process has one profiler: if it is in use, the run continues without a profile and reports it."""
    with torch.profiler.profile() as own, Run(None, TensorBoard("logs", profile="1:2")) as run:
        for _ in run.epochs(1):
            for _ in run.batches(range(3)):
                torch.ones(2, 7) @ torch.ones(7, 3)
    (failure,) = run.failures
    assert str(failure).startswith("TensorBoard: no profile: RuntimeError: PyTorch's profiler is running already")
    assert sum(each.name == "aten::mm" for each in own.events()) == 3
    assert not list(Path("logs").rglob("*.pt.trace.json"))


def test_a_profile_without_pytorch_names_the_install_command(monkeypatch: pytest.MonkeyPatch):
    """If PyTorch is not installed, the error before training names the command to install it."""
    monkeypatch.delitem(sys.modules, "trainbus.plugins.tensorboard.profiler", raising=False)
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(MissingDependency, match="pip install torch"):
        Run(None, TensorBoard("logs", profile="3:4")).begin()
