"""Files that are complete or not there: staged beside the target, synced, renamed."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .errors import CheckpointError

__all__ = ["Checkpoint", "commit", "suffix_of"]


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A checkpoint that was committed, and the moment of the run that it holds."""

    path: Path
    epoch: int
    step: int
    weights_only: bool = False
    metrics: Mapping[str, Any] = field(default_factory=dict[str, Any], compare=False)
    reason: str = ""


def suffix_of(path: Path) -> str:
    """The suffix of a file name, `.weights.h5` taken as one.

    >>> suffix_of(Path("run.1/best.weights.h5")), suffix_of(Path("best.pt")), suffix_of(Path("best"))
    ('.weights.h5', '.pt', '')
    """
    return "".join(path.suffixes[-2:]) if path.name.endswith(".weights.h5") else path.suffix


def commit(path: Path, write: Callable[[Path], None]) -> None:
    """Let `write` make a file beside `path`, then put it in the place of `path` in one step.

    At every instant `path` holds what it held before or the whole new content, also after a power cut: the content is
    on the disk before the rename, the rename before this returns. Whatever goes wrong, `path` stays as it was and the
    staged file is removed.

    Args:
        path: where the file shall stand; missing directories are made.
        write: is called with a path of the same suffix in the same directory, and writes the content there.

    Raises:
        CheckpointError: the file could not be written; `path` is as it was.

    >>> folder = Path(tempfile.mkdtemp())
    >>> commit(folder / "best.txt", lambda staged: staged.write_text("weights"))
    >>> (folder / "best.txt").read_text(), len(list(folder.iterdir()))
    ('weights', 1)
    """
    staged: Path | None = None
    try:
        if path.is_dir():
            raise IsADirectoryError(f"{str(path)!r} is a directory; name a file in it")
        path.parent.mkdir(parents=True, exist_ok=True)
        # an unguessable name that nobody owns yet: two runs never share it, and no planted link can stand there
        suffix = suffix_of(path)
        handle, name = tempfile.mkstemp(prefix=f".{path.name.removesuffix(suffix)}-", suffix=suffix, dir=path.parent)
        staged = Path(name)
        os.close(handle)
        write(staged)
        # mkstemp's files are private; the committed one gets the rights that a plain open() would have given
        umask = os.umask(0)
        os.umask(umask)
        staged.chmod(0o666 & ~umask)
        _sync(staged)
        staged.replace(path)
        staged = None
        _sync(path.parent)
    except (OSError, RuntimeError) as error:  # torch.save reports a full disk as RuntimeError
        raise CheckpointError(f"the checkpoint {str(path)!r} was not written: {error}") from error
    finally:
        if staged is not None:
            with suppress(OSError):
                staged.unlink()


def _sync(path: Path) -> None:
    """Wait until a file, or the list of files in a directory, is on the disk."""
    try:
        handle = os.open(path, os.O_RDONLY)
    except PermissionError:
        if os.name == "nt" and path.is_dir():  # Windows opens no directories and needs no sync of them
            return
        raise
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
