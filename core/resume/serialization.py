"""Plain data: JSON data, with marked mappings for bytes, arrays and other values that JSON does not have."""

from __future__ import annotations

import json
import sys
import zlib
from base64 import b64decode, b64encode, b85decode, b85encode
from collections.abc import Iterable, Mapping
from math import isfinite, prod
from typing import Any, cast

from ..limits import EXPANSION_FLOOR, LOG_EXPANSION

MARK = "$"
"""The key that distinguishes a marked value from an ordinary mapping."""


def to_json_data(value: Any, *, arrays: bool = True, where: str = "") -> Any:
    """Return the value as plain JSON data, exact to the bit.

    Tuples become lists. Bytes, numbers that are not finite, and arrays are marked, so that ``from_json_data`` can
    restore them. Everything with ``__array__`` counts as an array; ``from_json_data`` returns tensors as NumPy arrays.

    Args:
        value: Numbers, text, truth values, None, bytes, arrays, and lists, tuples and mappings of these.
        arrays: Whether arrays and tensors are allowed.
        where: The position of the value in a larger one, for error messages.

    Raises:
        TypeError: The value holds something else; the message names its position.

    >>> to_json_data({"best": -float("inf"), "waited": (1, 2)})
    {'best': {'$': 'float', 'value': '-inf'}, 'waited': [1, 2]}
    >>> to_json_data([{"file": object()}])
    Traceback (most recent call last):
        ...
    TypeError: [0]['file'] is of type object, which is not plain data; use numbers, text, arrays, lists and mappings
    """
    if value is None or type(value) in (bool, int, str):
        return value
    for kind in (int, str):
        if isinstance(value, kind):  # of a subclass, such as a member of an enumeration
            return kind(value)
    if isinstance(value, float):
        return float(value) if isfinite(value) else {MARK: "float", "value": repr(float(value))}
    if isinstance(value, (bytes, bytearray)):
        return {MARK: "bytes", "value": b64encode(value).decode()}
    if isinstance(value, (list, tuple)):
        items = enumerate(cast("list[Any]", value))
        return [to_json_data(item, arrays=arrays, where=f"{where}[{index}]") for index, item in items]
    if isinstance(value, Mapping):
        mapping: Mapping[Any, Any] = cast("Any", value)  # mypy and pyright infer different types
        plain: dict[Any, Any] = {}
        for key, item in mapping.items():  # a comprehension would be one more frame for each level
            plain[key] = to_json_data(item, arrays=arrays, where=f"{where}[{key!r}]")
        if MARK not in plain and all(isinstance(key, str) for key in plain):
            return plain
        keys = [to_json_data(key, arrays=arrays, where=f"a key of {where}") for key in plain]
        return {MARK: "mapping", "value": [[key, item] for key, item in zip(keys, plain.values(), strict=True)]}
    if hasattr(value, "__array__") and (arrays or _is_numpy_scalar(value)):
        return _array_to_plain(value, where)
    allowed = "numbers, text, arrays, lists and mappings" if arrays else "numbers, text, lists and mappings"
    raise TypeError(f"{where or 'it'} is of type {type(value).__name__}, which is not plain data; use {allowed}")


def _is_numpy_scalar(value: Any) -> bool:
    return "numpy" in sys.modules and isinstance(value, sys.modules["numpy"].generic)


def _array_to_plain(value: Any, where: str) -> Any:
    import numpy as np  # noqa: PLC0415 - the core is imported without it

    if getattr(value, "requires_grad", False):
        value = value.detach()
    array = np.asarray(value.cpu() if hasattr(value, "cpu") else value)
    if isinstance(value, np.generic) and array.dtype.kind in "biuf" and array.itemsize <= 8:  # NumPy's own numbers
        return to_json_data(array.item(), where=where)
    if array.dtype.kind not in "biufc":
        raise TypeError(f"{where or 'it'} is an array of {array.dtype}, which is not plain data; use arrays of numbers")
    data = b64encode(np.ascontiguousarray(array).tobytes()).decode()
    return {MARK: "array", "type": array.dtype.str, "shape": list(array.shape), "value": data}


def compress_arrays(plain: Any) -> Any:
    """Return the same plain data with its bytes and arrays compressed, once; ``from_json_data`` reads both.

    >>> from_json_data(compress_arrays(to_json_data([b"0" * 1000]))) == [b"0" * 1000]
    True
    """
    if isinstance(plain, list):
        return [compress_arrays(each) for each in plain]  # pyright: ignore[reportUnknownVariableType]
    if not isinstance(plain, dict):
        return plain
    given = cast("dict[str, Any]", plain)
    if given.get(MARK) in ("bytes", "array"):
        if "zlib" in given:
            return given
        data = zlib.compress(b64decode(given["value"]))
        return {**given, "value": b85encode(data).decode(), "zlib": True}
    return {key: compress_arrays(each) for key, each in given.items()}


def from_json_data(value: Any) -> Any:
    """Return the value that ``to_json_data`` received, with lists in place of tuples.

    Raises:
        ValueError: A mark is unknown, or what a mark declares does not fit its data.

    >>> from_json_data(to_json_data({"best": -float("inf")}))
    {'best': -inf}
    """
    try:
        return _value_of(value)
    except (KeyError, TypeError, OverflowError, RecursionError, zlib.error) as error:
        raise ValueError(f"plain data are damaged: {type(error).__name__}: {error}") from error


def _value_of(value: Any) -> Any:
    if isinstance(value, list):
        return [_value_of(item) for item in value]  # pyright: ignore[reportUnknownVariableType]
    if not isinstance(value, dict):
        return value
    given = cast("dict[str, Any]", value)
    mark = given.get(MARK)
    if mark is None:
        return {key: _value_of(item) for key, item in given.items()}
    if mark == "float":
        return float(given["value"])
    if mark == "bytes":
        return _bytes_of(given)
    if mark == "mapping":
        return {_value_of(key): _value_of(item) for key, item in given["value"]}
    if mark == "array":
        return _array_of(given)
    raise ValueError(f"unknown mark {str(mark)[:40]!r} in plain data; this version of trainbus cannot read it")


def _array_of(given: dict[str, Any]) -> Any:
    import numpy as np  # noqa: PLC0415 - the core is imported without it

    data, dtype, shape = _bytes_of(given), np.dtype(str(given["type"])), given["shape"]
    if dtype.kind not in "biufc" or min(shape, default=0) < 0 or prod(shape) * dtype.itemsize != len(data):
        raise ValueError(f"an array declares the shape {str(shape)[:40]} of {dtype}, and has {len(data):,} bytes")
    return np.frombuffer(data, dtype=dtype).reshape(shape).copy()


def _bytes_of(given: dict[str, Any]) -> bytes:
    return _decompressed(b85decode(given["value"])) if "zlib" in given else b64decode(given["value"])


def _decompressed(data: bytes) -> bytes:
    stream = zlib.decompressobj()
    limit = max(LOG_EXPANSION * len(data), EXPANSION_FLOOR)
    found = stream.decompress(data, limit)
    if not stream.eof:
        raise ValueError(f"{len(data):,} compressed bytes are truncated, or unpack to more than {limit:,}")
    return found


def compress_log(items: Iterable[Any]) -> str:
    """Return plain data as compressed text.

    >>> decompress_log(compress_log([{"loss": 2.5}, {"loss": 1.5}]))
    [{'loss': 2.5}, {'loss': 1.5}]
    """
    lines = b"".join(json.dumps(item, separators=(",", ":")).encode() + b"\n" for item in items)
    return b64encode(zlib.compress(lines)).decode()


def decompress_log(text: str) -> list[Any]:
    """Return the items in a text that ``compress_log`` returned; none if it is empty.

    Raises:
        ValueError: It is damaged, or unpacks to much more than its size.
    """
    try:
        return [json.loads(line) for line in _decompressed(b64decode(text)).splitlines()] if text else []
    except (TypeError, RecursionError, zlib.error) as error:
        raise ValueError(f"a compressed log is damaged: {type(error).__name__}: {error}") from error
