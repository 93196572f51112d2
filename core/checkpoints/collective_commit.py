"""What several ranks write together: staged by rank 0, filled by all, put in its place by rank 0, told to all."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..capabilities import Ranks
from ..errors import CheckpointError, RankError
from ..storage.atomic_file import filled, write_bytes
from ..storage.paths import Location
from ..storage.sharded_directory import SHARDS, Part
from .discovery import Checkpoint, commit

__all__ = ["OWN", "Write", "commit_collectively", "write_collectively"]

OWN = "rank-{}.json"
"""Name of the part that holds what one rank remembers by itself."""

Write = Callable[[Path], object]
"""Writes to the path that it is given."""


def commit_collectively(ranks: Ranks, path: Location, write: Write, own: str = "", **moment: Any) -> Checkpoint:
    """As `commit` a directory; every rank calls it at the same time, and returns or raises the same.

    What is returned has the memory and the parts on rank 0 only.

    Args:
        ranks: those that write, by exchanges that nobody else makes meanwhile.
        path: where the payload shall stand; rank 0's is taken.
        write: as in `write_collectively`.
        own: what this rank remembers by itself, laid beside its part; empty for nothing.
        moment: fields of `Content` beside those that the payload tells; rank 0's are taken.

    Raises:
        CheckpointError: it was not written, for a reason on whatever rank; payload and memory are as they were.
        RankError: another rank is gone; what was to be committed may be so or not.
    """
    done: list[Checkpoint] = []

    def act(write: Write) -> Any:
        done.append(commit(path, write, directory=True, **moment))
        return done[0].model_dump(mode="json", exclude={"content": {"memory", "parts"}})

    def write_all(staged: Path) -> object:
        return _beside(ranks, write, staged, own)

    told = write_collectively(ranks, write_all, act)
    return done[0] if done else Checkpoint.model_validate(told)


def write_collectively(ranks: Ranks, write: Write, act: Callable[[Write], Any]) -> Any:
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


def _beside(ranks: Ranks, write: Write, staged: Path, own: str) -> object:
    """Fill the directory, and lay beside it what each rank has by itself; on rank 0 all parts, where they are told.

    Whatever fails on one rank, all come to the end of this; rank 0 raises it.
    """
    told: Any = None
    part, failure = None, None
    try:
        told = write(staged)
        part = _laid(staged, ranks.rank, own) if own else None
    except RankError:
        raise
    except (OSError, RuntimeError) as error:
        failure = error
    said = ranks.gather([part, None if failure is None else str(failure)])
    if failure is not None:
        raise failure
    failures = [f"rank {rank}: {words}" for rank, (_, words) in enumerate(said) if words is not None]
    if failures:
        raise OSError("; ".join(failures))
    return told and [*told, *(Part.model_validate(each) for each, _ in said if each is not None)]


def _laid(staged: Path, rank: int, own: str) -> dict[str, Any]:
    (shards,) = staged.glob(f"{SHARDS}*")
    file = shards / OWN.format(rank)
    digest = filled(file, lambda path: write_bytes(path, own.encode()))
    return Part(name=f"{shards.name}/{file.name}", size=file.stat().st_size, digest=digest).model_dump()
