"""A loader that Accelerate has prepared leaves out batches."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from torch.utils.data import DataLoader, Dataset, IterableDataset

from trainbus.adapters.transformers.prepared_loader import PreparedLoader


class Rows(Dataset[int]):
    """Notes what was loaded."""

    def __init__(self) -> None:
        self.loaded: list[int] = []

    def __len__(self) -> int:
        return 12

    def __getitem__(self, index: int) -> int:
        self.loaded.append(index)
        return index


class Stream(IterableDataset[int]):
    def __iter__(self) -> Iterator[int]:
        return iter(range(12))


def batches(loader: Any) -> list[list[int]]:
    return [each.tolist() for each in loader]


def prepared(data: Any = None, **options: Any) -> Any:
    return Accelerator(cpu=True).prepare(DataLoader(Rows() if data is None else data, batch_size=3, **options))


@pytest.mark.parametrize("left_out", [0, 1, 3, 4])
@pytest.mark.parametrize("shuffle", [False, True])
def test_the_first_batches_are_left_out_and_not_loaded(left_out: int, shuffle: bool) -> None:
    """The others are those of the same order, and the next pass has all."""
    torch.manual_seed(0)
    whole = prepared(shuffle=shuffle)
    passes = [batches(whole), batches(whole)]
    torch.manual_seed(0)
    loader = prepared(shuffle=shuffle)
    part = PreparedLoader(loader)
    part.leave_out(left_out)
    first = batches(loader)
    loaded = len(loader.dataset.loaded)
    part.leave_out_none()
    loader.set_epoch(1)

    assert part.can_skip
    assert first == passes[0][left_out:]
    assert loaded == 12 - 3 * left_out
    assert batches(loader) == passes[1]
    assert len(loader) == 4


def test_all_batches_are_left_out() -> None:
    loader = prepared()
    PreparedLoader(loader).leave_out_all()

    assert batches(loader) == loader.dataset.loaded == []
    PreparedLoader(loader).leave_out_none()
    assert len(batches(loader)) == 4


def test_a_function_is_called_once_before_the_batches() -> None:
    loader, calls = prepared(), list[int]()
    PreparedLoader(loader).call_before(lambda: calls.append(len(loader.dataset.loaded)))

    assert len(batches(loader)) == len(batches(loader)) == 4
    assert calls == [0]


def test_what_has_no_indices_is_loaded() -> None:
    loader = Accelerator(cpu=True, dataloader_config=None).prepare(DataLoader(Stream(), batch_size=3))
    part = PreparedLoader(loader)
    if part.can_skip:
        part.leave_out(2)
        assert batches(loader) == [[6, 7, 8], [9, 10, 11]]


@pytest.mark.parametrize("make", [lambda: DataLoader(Rows()), lambda: [1, 2], lambda: range(3)])
def test_another_loader_cannot_leave_out_any(make: Any) -> None:
    assert not PreparedLoader(make()).can_skip
    PreparedLoader(make()).leave_out_none()
