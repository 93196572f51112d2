"""What several ranks write together: staged by rank 0, filled by all, put in its place by rank 0, told to all."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..capabilities import Ranks
from ..errors import CheckpointError, RankError
from .checkpoints import Checkpoint, commit
from .locations import Location

__all__ = ["Write", "commit_together", "write_together"]

Write = Callable[[Path], object]
"""Writes to the path that it is given."""


def commit_together(ranks: Ranks, path: Location, write: Write, **moment: Any) -> Checkpoint:
    """As `commit` a directory; every rank calls it at the same time, and returns or raises the same.

    What is returned has the memory and the parts on rank 0 only.

    Args:
        ranks: those that write, by exchanges that nobody else makes meanwhile.
        path: where the payload shall stand; rank 0's is taken.
        write: as in `write_together`.
        moment: fields of `Content` beside those that the payload tells; rank 0's are taken.

    Raises:
        CheckpointError: it was not written, for a reason on whatever rank; payload and memory are as they were.
        RankError: another rank is gone; what was to be committed may be so or not.
    """
    done: list[Checkpoint] = []

    def act(write: Write) -> Any:
        done.append(commit(path, write, directory=True, **moment))
        return done[0].model_dump(mode="json", exclude={"content": {"memory", "parts"}})

    told = write_together(ranks, write, act)
    return done[0] if done else Checkpoint.model_validate(told)


def write_together(ranks: Ranks, write: Write, act: Callable[[Write], Any]) -> Any:
    """Let rank 0 stage a directory and act on it, and all ranks fill it.

    Args:
        ranks: those that write, by exchanges that nobody else makes meanwhile.
        write: fills the staged directory; where it fails on one rank it raises on all of them. On rank 0 it may return
            the list of all parts.
        act: called on rank 0, with what lets all ranks write to the path that it is given; returns plain data.

    Returns:
        What `act` has returned, on every rank.

    Raises:
        CheckpointError: it was not written, for a reason on whatever rank.
        RankError: another rank is gone; what was to be done may be so or not.
    """
    if ranks.rank == 0:
        return _lead(ranks, write, act)
    cause: Exception | None = None
    if staged := ranks.broadcast(None):
        try:
            write(Path(staged))
        except RankError:
            raise
        except (OSError, RuntimeError) as error:  # rank 0 has it as well, and says what follows
            cause = error
    verdict = ranks.broadcast(None)
    if verdict["error"]:
        raise CheckpointError(verdict["error"]) from cause
    return verdict["told"]


def _lead(ranks: Ranks, write: Write, act: Callable[[Write], Any]) -> Any:
    staged: list[Path] = []

    def all_write(path: Path) -> object:
        staged.append(path)
        ranks.broadcast(str(path))
        return write(path)

    verdict = {"error": "rank 0 was interrupted while it wrote", "told": None}
    try:
        verdict = {"error": "", "told": act(all_write)}
    except (OSError, RuntimeError) as error:
        if isinstance(error.__cause__, RankError):
            raise error.__cause__ from error
        verdict["error"] = str(error)
        raise
    finally:
        if not staged:
            ranks.broadcast("")
        ranks.broadcast(verdict)
    return verdict["told"]
