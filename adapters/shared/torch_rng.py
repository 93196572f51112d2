"""The state of the random generators that a PyTorch training draws from."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch


def random_state() -> dict[str, Any]:
    """Return the state of the global generators of Python, NumPy and torch, on the CPU and on every CUDA device.

    The hundreds of words of a generator are one tensor, so that pickling them does not cost more than the weights do.
    """
    version, words, gauss = random.getstate()
    name, key, *rest = np.random.get_state()  # noqa: NPY002 - datasets and augmentations draw from the global one
    numpy = (name, torch.as_tensor(np.asarray(key, dtype=np.int64)), *rest)
    python = (version, torch.as_tensor(np.array(words, dtype=np.int64)), gauss)
    return {"python": python, "numpy": numpy, **torch_random_state()}


def set_random_state(state: Mapping[str, Any]) -> None:
    """Restore the state of the generators; skip CUDA devices that this machine lacks."""
    version, words, gauss = state["python"]
    random.setstate((version, tuple(words.tolist()), gauss))
    name, key, *rest = state["numpy"]
    np.random.set_state((name, np.asarray(key), *rest))  # noqa: NPY002
    set_torch_random_state(state)


def torch_random_state() -> dict[str, Any]:
    """Return the state of torch's global generators only."""
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    return {"torch": torch.get_rng_state(), "cuda": cuda}


def set_torch_random_state(state: Mapping[str, Any]) -> None:
    """Restore the state of torch's global generators; its tensors may have become arrays."""
    torch.set_rng_state(torch.as_tensor(state["torch"], dtype=torch.uint8))
    if torch.cuda.is_available():
        for device, generator in zip(range(torch.cuda.device_count()), state["cuda"], strict=False):
            torch.cuda.set_rng_state(torch.as_tensor(generator, dtype=torch.uint8), device)
