"""Files of ``torch.save``."""

# pyright: reportUnknownMemberType=false

from __future__ import annotations

from pathlib import Path
from pickle import UnpicklingError
from typing import Any, cast
from zipfile import ZipFile, is_zipfile

import torch

from trainbus import CheckpointError, UnreadableCheckpoint
from trainbus.storage.atomic_file import HashedFile, reading

from .pt_contents import check_contents


def write(state: Any, path: Path) -> str:
    """Write a state with ``torch.save``; other threads run while it writes tensors.

    Args:
        state: Nested dictionaries, lists and tuples of plain values and tensors on the CPU.
        path: The file.

    Returns:
        The digest of what the file should hold.

    Raises:
        OSError: The file cannot be written.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "weights.pt"
    >>> _ = write({"weight": torch.arange(3.0)}, path)
    >>> torch.load(path, weights_only=True)
    {'weight': tensor([0., 1., 2.])}
    """
    with HashedFile(path) as file:
        try:
            torch.save(state, cast("Any", file))
        except RuntimeError as error:
            if isinstance(error.__context__, OSError):  # torch says "unexpected pos" instead of the system's error
                raise error.__context__ from None
            raise
    return file.digest


def read(path: Path) -> dict[str, Any]:
    """Return the content of a file, its tensors on the CPU.

    Raises:
        UnreadableCheckpoint: The file is missing or damaged, or holds more than plain data.
        CheckpointError: The file holds something other than a state.
    """
    with reading(path):
        with path.open("rb") as file:
            check_contents(file, path.stat().st_size)
        _check_sums(path)
        try:
            found = torch.load(path, map_location="cpu", weights_only=True)
        except UnpicklingError as error:
            reason = "torch.save did not write it, or it holds objects that could run code"
            raise UnreadableCheckpoint(f"{str(path)!r} does not load with weights_only=True: {reason}") from error
    if not isinstance(found, dict):
        raise CheckpointError(f"{str(path)!r} holds a {type(found).__name__}, which is not the state of a model")
    return cast("dict[str, Any]", found)


def _check_sums(path: Path) -> None:
    """Compare the checksums in an archive, which ``torch.load`` ignores; older formats have none."""
    summed: bool = getattr(torch.serialization, "get_crc32_options", lambda: True)()
    if not summed or not is_zipfile(path):
        return
    with ZipFile(path) as file:
        broken = file.testzip()
    if broken is not None:
        raise UnreadableCheckpoint(f"{str(path)!r} is damaged: the checksum of {broken!r} is wrong")
