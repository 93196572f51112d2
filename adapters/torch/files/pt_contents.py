"""Checks of a file of ``torch.save`` before ``torch.load`` reads it: what it declares fits into it.

``torch.load(weights_only=True)`` runs no code. But it allocates what a file declares, and hashes keys of any depth.
"""

# pickles hold values of any kind
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping
from itertools import chain
from math import prod
from typing import IO, Any, Final
from zipfile import ZipFile

import torch

from trainbus.limits import NESTING
from trainbus.storage.archive import ZIP, check_archive

from .pickle_data import Items, Made, Name, Persistent, PickleReader

PICKLE: Final = "data.pkl"
"""Name of the entry with the pickle, below the archive's only directory."""
ENCODINGS: Final = ("latin1", "latin-1", "ascii", "utf-8")
"""Encodings of bytes in a pickle; some others take quadratic time."""
ITEM_SIZES: Final = {
    **dict.fromkeys(("Half", "Short", "BFloat16"), 2),
    **dict.fromkeys(("Float", "Int", "QInt32"), 4),
    **dict.fromkeys(("Double", "Long", "ComplexFloat"), 8),
    "ComplexDouble": 16,
}
"""Bytes of one number by the kind of storage; all others have one byte, or are counted in bytes."""
REBUILDING: Final = ("torch._utils", "torch._tensor")
"""The modules of the functions that rebuild tensors."""
COPIES: Final = 10
"""A pickle may hash this many keys, and parts of keys, for each of its bytes."""


def check_contents(file: IO[bytes], size: int) -> None:
    """Raise an error if reading the file would need much more memory or time than its size explains.

    Args:
        file: The file, which can be seeked.
        size: Its length in bytes.

    Raises:
        ValueError: It declares more than it holds, or nests its values too deeply.
        UnpicklingError: It is damaged, or holds what ``torch.save`` does not write.
        BadZipFile: It is damaged.
    """
    start = file.read(len(ZIP))
    file.seek(0)
    if start != ZIP:
        _check_old(file, size)
        return
    entries = {name.partition("/")[2]: (name, length) for name, length in check_archive(file).items()}
    if PICKLE not in entries:  # torch.load explains it
        return
    name, length = entries[PICKLE]
    with ZipFile(file) as archive:
        data = archive.read(name)
    found = PickleReader(io.BytesIO(data), length).read()
    _Contents(length, {name: each for name, (_, each) in entries.items()}).check(found)


def _check_old(file: IO[bytes], size: int) -> None:
    """Check a file of the format before PyTorch 1.6: five pickles, and then the bytes of the tensors."""
    reader, contents = PickleReader(file, size), _Contents(size, None)
    if reader.read() != torch.serialization.MAGIC_NUMBER:
        raise ValueError("torch.save did not write it")
    for _ in range(4):
        contents.check(reader.read())


class _Contents:
    """Checks the values in a pickle, each once.

    Args:
        size: Length of the pickle, or of an old file.
        entries: Name to length of each entry of the archive; None for an old file.
    """

    def __init__(self, size: int, entries: Mapping[str, int] | None) -> None:
        self._size, self._entries = size, entries
        self._heights: dict[int, int | None] = {}
        self._kept: list[Any] = []
        self._hashed = 0
        self._stored: dict[str, int] = {}
        self._declared = 0

    def check(self, value: Any) -> None:
        """Raise an error if a value is too large or too deep."""
        self._kept.append(value)  # an identity must not be used again
        self._height(value, 0)

    def _height(self, value: Any, depth: int) -> int:
        """Return how many containers are inside each other, the outermost one included."""
        if not isinstance(value, (tuple, list, Made)) or isinstance(value, Name):
            return 0
        known = self._heights.get(id(value), 0)
        if known is None:
            raise ValueError("it holds a container that contains itself")
        if not known:
            self._heights[id(value)] = None
            if depth < NESTING:
                self._check_one(value)
                known = 1 + max((self._height(each, depth + 1) for each in _inside(value)), default=0)
            else:
                known = 1
            self._heights[id(value)] = known
        if depth + known > NESTING:
            raise ValueError(f"it nests containers more than {NESTING} deep")
        return known

    def _check_one(self, value: Any) -> None:
        if isinstance(value, Persistent):
            self._check_storage(value.identity)
        elif isinstance(value, Made):
            self._check_call(value)
            if value.state is not None and str(value.maker).startswith("torch."):  # it would resize a tensor
                raise ValueError(f"it sets attributes of what {value.maker} makes, which torch.save does not write")
            self._hash(key for key, _ in value.items)
        elif isinstance(value, Items):
            self._hash(key for key, _ in value)

    def _hash(self, keys: Iterable[Any]) -> None:
        for key in keys:
            self._hash_one(key)

    def _hash_one(self, key: Any) -> None:
        self._hashed += 1
        if self._hashed > COPIES * self._size:
            raise ValueError("its keys are tuples that hold one tuple too many times")
        if isinstance(key, Made):
            self._hash(key.arguments)
        elif isinstance(key, tuple) and not isinstance(key, Name):
            self._height(key, 0)
            self._hash(key)

    def _check_storage(self, identity: Any) -> None:
        if not (isinstance(identity, tuple) and len(identity) >= 5):
            raise ValueError("it names a storage in an unknown way")
        _, kind, key, _, count = identity[:5]
        if not (isinstance(kind, Name) and isinstance(key, str) and isinstance(count, int) and count >= 0):
            raise ValueError("it names a storage in an unknown way")
        needed = count * ITEM_SIZES.get(kind.name.removesuffix("Storage"), 1)
        if self._entries is not None:
            if needed > self._entries.get(f"data/{key}", 0):
                raise ValueError(f"it declares {needed:,} bytes for tensor {key!r}, and holds fewer")
        else:
            self._declared += max(needed - self._stored.get(key, 0), 0)
            self._stored[key] = max(needed, self._stored.get(key, 0))
            if self._declared > self._size:
                raise ValueError("it declares tensors of more bytes than it holds")

    def _check_call(self, made: Made) -> None:
        maker, arguments = made.maker, made.arguments
        name = str(maker)
        if name == "builtins.set":
            self._hash(each for argument in arguments for each in (argument if isinstance(argument, list) else ()))
        elif name == "_codecs.encode":
            if len(arguments) > 1 and arguments[1] not in ENCODINGS:
                raise ValueError("it holds bytes in an unknown encoding")
        elif name == "torch._utils._rebuild_qtensor":
            shape = arguments[2] if len(arguments) > 2 else ()
            if (
                not isinstance(shape, tuple)
                or not all(isinstance(each, int) for each in shape)
                or prod(shape) > self._total
            ):
                raise ValueError("it declares a quantized tensor that is larger than the file")
        elif name in ("collections.OrderedDict", "collections.Counter"):
            if any(not isinstance(argument, Items) for argument in arguments):
                raise ValueError("it makes a dictionary in an unknown way")
        elif name == "torch._tensor._rebuild_from_type_v2":
            self._check_inner_call(arguments)
        elif name == "builtins.bytearray":
            if arguments and not (isinstance(arguments[0], (str, bytes)) or _is_encoded(arguments[0])):
                raise ValueError("it makes a bytearray of something other than bytes, which torch.save does not write")
        elif name.startswith("torch.") and name.endswith(("Storage", "Tensor")):
            raise ValueError(f"it calls {name}, which torch.save does not write")

    def _check_inner_call(self, arguments: tuple[Any, ...]) -> None:
        """Check the function that the call of another function calls with a part of its arguments."""
        maker, _, inner = (*arguments, None, None, None)[:3]
        if not (isinstance(maker, Name) and maker.module in REBUILDING and maker.name.startswith("_rebuild_")):
            raise ValueError("it rebuilds a tensor by a function that torch.save does not write")
        if not isinstance(inner, tuple):
            raise ValueError("it rebuilds a tensor by a function of unknown arguments")  # noqa: TRY004 - of the file
        self._check_call(Made(maker, inner))

    @property
    def _total(self) -> int:
        return self._size if self._entries is None else sum(self._entries.values())


def _is_encoded(value: Any) -> bool:
    return isinstance(value, Made) and str(value.maker) == "_codecs.encode"


def _inside(value: Any) -> Iterable[Any]:
    if isinstance(value, Made):
        return (*value.arguments, value.items, value.state)
    return chain.from_iterable(value) if isinstance(value, Items) else value
