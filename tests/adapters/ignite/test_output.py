"""What a process function of Ignite returns."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("ignite")

import torch

from trainbus.adapters.ignite.output import metrics_in


@pytest.mark.parametrize("number", [1, 0.5, np.float32(2), torch.tensor(3.0), torch.tensor([[4.0]])])
def test_a_number_is_a_metric(number: Any) -> None:
    """Also in a mapping, under its name."""
    assert metrics_in(number) is number
    assert metrics_in({"loss": number, "images": torch.ones(2, 2), 3: 1.0, "text": "a"}) == {"loss": number}


@pytest.mark.parametrize("output", [None, True, "text", (1.0, 2.0), torch.ones(2), torch.tensor(1 + 2j), []])
def test_anything_else_is_none(output: Any) -> None:
    assert metrics_in(output) is None
