"""The laws of directories of shards, in one process: tests/distributed has those of several."""

import os
import pickle
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.distributed.checkpoint import format_utils, state_dict_saver
from torch.distributed.checkpoint.api import CheckpointException

from trainbus import CheckpointError, Run
from trainbus.adapters.torch import TorchSubject
from trainbus.adapters.torch.files.dcp_index import INDEX, read_index
from trainbus.decision import restore, save

pytestmark = pytest.mark.filterwarnings("ignore:torch.distributed is")


class Malicious:
    """An object that creates a directory when it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, ("code-ran",)


class Odd:
    """State of every kind that DCP alone would change."""

    def __init__(self, state: Any = None) -> None:
        self.state = state

    def state_dict(self) -> Any:
        return self.state

    def load_state_dict(self, state: Any) -> None:
        self.state = state


ODD: dict[str, Any] = {
    "empty": {},
    "numbers": {1: 2, 3: {4: ()}},
    "list": [],
    "one": ("a",),
    "counter": Counter({30: 1}),
}


def training(seed: int, extra: Any = None) -> TorchSubject:
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 1))
    optimizer = torch.optim.Adam([{"params": model[0].parameters(), "lr": 0.1}, {"params": model[2].parameters()}])
    scheduler = torch.optim.lr_scheduler.MultiStepLR(optimizer, [2, 4])
    return TorchSubject(model, optimizer, scheduler=scheduler, extra={"odd": Odd(extra)})


def step(subject: TorchSubject) -> None:
    optimizer = subject.optimizers["optimizer"]
    optimizer.zero_grad()
    subject.model(torch.randn(8, 3)).sum().backward()
    optimizer.step()
    subject.schedulers["scheduler"].step()


def test_a_directory_holds_what_a_file_holds() -> None:
    """A training restored from either continues bit by bit, and unusual state is unchanged."""
    one = training(1, {**ODD, "tensors": {5: torch.ones(2), "deep": [{"x": torch.zeros(1)}]}})
    step(one)
    for path in ("a.pt", "a.dcp"):
        one.save(path, weights_only=False)
    step(one)
    after = one.snapshot().weights
    for path in ("a.pt", "a.dcp"):
        other = training(2)
        other.load(path)
        odd = other.extra["odd"].state
        assert {name: odd[name] for name in ODD} == ODD
        assert torch.equal(odd["tensors"][5], torch.ones(2))
        assert torch.equal(odd["tensors"]["deep"][0]["x"], torch.zeros(1))
        step(other)
        assert all(torch.equal(value, after[name]) for name, value in other.snapshot().weights.items())


def test_an_untrained_state_comes_back() -> None:
    """An optimizer that has made no step has none after restoring."""
    training(1).save("a.dcp", weights_only=False)
    other = training(2)
    step(other)
    other.load("a.dcp")

    assert other.optimizers["optimizer"].state_dict()["state"] == {}


def test_torch_reads_it_and_is_read() -> None:
    """Weights are the plain state_dict for DCP, and what DCP has saved of a state_dict is loaded."""
    one, other = training(1), training(2)
    one.save("weights.dcp", weights_only=True)
    format_utils.dcp_to_torch_save("weights.dcp", "weights.pt")
    found = torch.load("weights.pt", weights_only=True)
    assert all(torch.equal(found[name], value) for name, value in one.model.state_dict().items())

    state_dict_saver.save(one.model.state_dict(), checkpoint_id="theirs.dcp", no_dist=True)
    other.load("theirs.dcp")
    assert torch.equal(other.model[0].weight, one.model[0].weight)


def test_what_does_not_fit_changes_nothing() -> None:
    """A directory of another model is refused before its shards are read."""
    training(1).save("a.dcp", weights_only=False)
    other = TorchSubject(nn.Linear(3, 4))
    before = other.snapshot().weights
    with pytest.raises(CheckpointError, match="does not fit: the file lacks the weights 'weight', 'bias'"):
        other.load("a.dcp")
    assert all(torch.equal(value, before[name]) for name, value in other.snapshot().weights.items())


@pytest.mark.parametrize("where", ["index", "inside of the index", "value"])
def test_a_malicious_pickle_runs_no_code(where: str) -> None:
    """Whichever file of the directory contains it, restoring raises and runs nothing; DCP itself would run it."""
    path = Path("a.dcp")
    if where == "value":
        state_dict_saver.save({"evil": Malicious(), "x": torch.ones(1)}, checkpoint_id=path, no_dist=True)
    else:
        training(1).save(path, weights_only=False)
        metadata: Any = Malicious()
        if where != "index":
            metadata = read_index(path / INDEX)
            metadata.storage_data["evil"] = Malicious()
        (path / INDEX).write_bytes(pickle.dumps(metadata))

    with pytest.raises(CheckpointError, match="could run code"):
        training(2).load(path)
    assert not Path("code-ran").exists()
    with suppress(Exception, CheckpointException):
        format_utils.dcp_to_torch_save(path, "theirs.pt")
    assert Path("code-ran").exists()


def test_the_engine_saves_and_restores_it_and_finds_damage() -> None:
    """Under a run it is committed, verified and refused by name when a part was damaged."""
    one = training(1)
    with Run(one, verbose=0) as run:
        run.decide(save("a.dcp"))
        step(one)
        run.decide(restore("a.dcp"))
        (part,) = Path("a.dcp").glob("shards-*/*")
        content = bytearray(part.read_bytes())
        content[len(content) // 2] ^= 1
        part.write_bytes(content)
        with pytest.raises(CheckpointError, match=rf"a\.dcp.*is damaged: '{part.parent.name}/{part.name}'"):
            run.decide(restore("a.dcp"))
