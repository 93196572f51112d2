"""Numbers in the forms in which training loops log them."""

import datetime
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pandas as pd
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
    "numpy object": lambda value: np.array(value, dtype=object),
    "numpy big-endian": lambda value: np.array(value, dtype=">f4"),
    "numpy unmasked": lambda value: np.ma.masked_array(value, mask=False),
    "pandas": lambda value: pd.Series([value]),
    "decimal": Decimal,
    "torch float16": lambda value: torch.tensor(value, dtype=torch.float16),
    "torch float32": torch.tensor,
    "torch float64": lambda value: torch.tensor(value, dtype=torch.float64),
    "torch 1 element": lambda value: torch.tensor([value]),
    "torch with gradient": lambda value: torch.tensor(value, requires_grad=True) * 1,
}
"""Forms that hold every float16 exactly."""

NOT_NUMBERS: list[Any] = [
    True,
    np.True_,
    np.array(True),
    torch.tensor(data=True),
    "0.5",
    b"1",
    bytearray(b"1"),
    np.str_("1"),
    np.array("1.5"),
    np.array(["1.5"]),
    np.array([b"1"]),
    np.array("1.5", dtype=object),
    np.array(["1", "2"], dtype=object),
    np.array([None, 1.0], dtype=object),
    np.datetime64("2026-11-26"),
    np.datetime64("2026-11-26T12:00:00.000000001"),
    np.array(["2026-11-26"], dtype="datetime64[D]"),
    np.timedelta64(3, "ns"),
    pd.Timestamp("2026-11-26"),
    pd.NaT,
    pd.NA,
    pd.Series(["1"]),
    datetime.timedelta(seconds=1),
    np.array([(1, 2.0)], dtype=[("a", int), ("b", float)]),
    1j,
    np.complex64(1),
    torch.tensor([1j, 1j]),
    10**400,
    Decimal("sNaN"),
    Fraction(10**400),
    [1.0],
    {},
    object(),
]
"""Values that are no numbers, although some of them turn into a float."""

MASKED: list[Any] = [
    np.ma.masked,
    np.ma.masked_array(0.5, mask=True),
    np.ma.masked_array([1], mask=[True]),
    np.ma.masked_array([1.0, 2.0], mask=True),
    np.ma.masked_array([1.0, 2.0], mask=True).mean(),
    np.ma.masked_equal(np.float32([3]), 3),
]
"""Values that NumPy has marked as missing."""
