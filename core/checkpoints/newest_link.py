"""A link to the newest checkpoint: a relative symbolic link, which is replaced in one step."""

from __future__ import annotations

import os
import secrets
from collections.abc import Collection
from pathlib import Path

from ..errors import CheckpointError
from ..storage.atomic_file import STAGED, discard, sync
from ..storage.paths import Location
from .beside.files import payload_with
from .commit import remove
from .manifest import entries_of


def link_newest(link: Path, target: Path, others: Collection[Path] = ()) -> None:
    """Let a link lead to a checkpoint; a checkpoint that was at its path is removed.

    Args:
        link: The path of the link.
        target: The checkpoint, on the same disk.
        others: The paths of the links of the same save; files there that belonged to that checkpoint are removed, too.

    Raises:
        CheckpointError: The system has no links, or something else is at the path of the link.
    """
    is_file = link.exists() and not link.is_symlink()
    if is_file and not entries_of(link):
        raise CheckpointError(f"{str(link)!r} is a file, but not a checkpoint, and was not replaced by a link")
    staged = link.with_name(f"{STAGED}{secrets.token_hex(8)}")
    try:
        if is_file:
            remove(link, others.__contains__)
        staged.symlink_to(os.path.relpath(target, link.parent))
        staged.replace(link)
        sync(link.parent)
    except OSError as error:
        discard(staged)
        raise CheckpointError(
            f"{str(link)!r} cannot be a link here: {error.strerror or error}; write save_last=True"
        ) from error


def place_of(link: str, target: Path) -> Path:
    """Return the path of a link that is given relative to the directory of its target.

    >>> place_of("../last.pt", Path("run/5/m.pt")).as_posix()
    'run/last.pt'
    """
    return Path(os.path.normpath(target.parent / link))


def leads_to(link: Path, target: Path) -> bool:
    """Return whether a path is a link to a file."""
    return link.is_symlink() and os.path.realpath(link) == os.path.realpath(target)


def is_mere_link(path: Location) -> bool:
    """Return whether a path is a link to a checkpoint, and not a checkpoint itself."""
    return isinstance(path, Path) and path.is_symlink() and not entries_of(path)


def followed(path: Location) -> Location:
    """Return the checkpoint to which a mere link leads, or to whose save a file belongs; another path as it is."""
    return payload_with(path.parent / path.readlink() if isinstance(path, Path) and is_mere_link(path) else path)
