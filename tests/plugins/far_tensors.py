"""Tensors that claim to be on a device, and count the calls that wait for it."""

from typing import Any

import torch

__all__ = ["Far", "far"]

_T = torch.Tensor
_WAITING = {_T.item, _T.tolist, _T.cpu, _T.to, _T.numpy, _T.__array__, _T.__float__, _T.__int__, _T.__bool__}


class Far(torch.Tensor):
    """A tensor whose results are of the same type."""

    waits = 0
    is_cpu = False  # type: ignore[assignment]

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in _WAITING:
            Far.waits += 1
        return super().__torch_function__(func, types, args, kwargs or {})


def far(value: float, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """Return a number on a device."""
    return torch.tensor(value, dtype=dtype).as_subclass(Far)
