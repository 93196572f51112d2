"""Numbers in the forms in which training loops log them."""

from typing import Any

import numpy as np
import torch
from hypothesis import strategies as st

FINITE = st.floats(-60000, 60000, width=16)

FORMS: dict[str, Any] = {
    "float": float,
    "numpy float16": np.float16,
    "numpy float32": np.float32,
    "numpy float64": np.float64,
    "numpy 0-d": lambda value: np.array(value, dtype="float32"),
    "numpy 1x1": lambda value: np.array([[value]]),
    "torch float16": lambda value: torch.tensor(value, dtype=torch.float16),
    "torch float32": torch.tensor,
    "torch float64": lambda value: torch.tensor(value, dtype=torch.float64),
    "torch 1 element": lambda value: torch.tensor([value]),
    "torch with gradient": lambda value: torch.tensor(value, requires_grad=True) * 1,
}
"""Forms that hold every float16 exactly."""
