"""Checkpoints that several ranks write together: rank 0 stages a directory, all ranks fill it, rank 0 commits it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..capabilities import Ranks
from ..errors import CheckpointError, RankError
from ..storage.atomic_file import fill, write_bytes
from ..storage.paths import Location
from ..storage.sharded_directory import SHARDS, Part
from .commit import Checkpoint, commit

RANK_FILE = "rank-{}.json"
"""Name of the part that holds one rank's own state."""

Write = Callable[[Path], object]
"""Writes to the path that it is called with."""


def commit_collectively(
    ranks: Ranks, path: Location, write: Write, rank_state: str = "", **metadata: Any
) -> Checkpoint:
    """Commit a directory as ``commit`` does; all ranks call this at the same time and get the same result.

    Args:
        ranks: The ranks that write; nothing else may use this communicator meanwhile.
        path: The path of the payload; rank 0's is used.
        write: As in ``write_collectively``.
        rank_state: This rank's own state, which becomes a part of the payload; empty for none.
        metadata: The fields of ``ManifestEntry`` that ``commit`` takes; those of rank 0 are used.

    Returns:
        The checkpoint; its entry has the run state and the parts on rank 0 only.

    Raises:
        CheckpointError: A rank could not write; the payload and its manifest are unchanged.
        RankError: Another rank is gone; the checkpoint may or may not be committed.
    """
    done: list[Checkpoint] = []

    def publish(write: Write) -> Any:
        done.append(commit(path, write, directory=True, **metadata))
        return done[0].model_dump(mode="json", exclude={"entry": {"run_state", "parts"}})

    def write_all(staged: Path) -> object:
        return _write_rank(ranks, write, staged, rank_state)

    result = write_collectively(ranks, write_all, publish)
    return done[0] if done else Checkpoint.model_validate(result)


def write_collectively(ranks: Ranks, write: Write, publish: Callable[[Write], Any]) -> Any:
    """Let all ranks write to a path that rank 0 chooses.

    Args:
        ranks: The ranks that write; nothing else may use this communicator meanwhile.
        write: Fills the staged directory; if it fails on one rank, it raises on all of them. On rank 0 it may return
            the list of all parts.
        publish: Called on rank 0 with a function of a path, which lets all ranks write to this path; stages and
            publishes the payload, and returns plain data.

    Returns:
        The result of ``publish``, on every rank.

    Raises:
        CheckpointError: A rank could not write.
        RankError: Another rank is gone; the payload may or may not be published.
    """
    if ranks.rank == 0:
        return _lead_write(ranks, write, publish)
    cause: Exception | None = None
    if staged := ranks.broadcast(None):
        try:
            write(Path(staged))
        except RankError:
            raise
        except (OSError, RuntimeError) as error:  # rank 0 receives it too, and decides
            cause = error
    verdict = ranks.broadcast(None)
    if verdict["error"]:
        raise CheckpointError(verdict["error"]) from cause
    return verdict["result"]


def _lead_write(ranks: Ranks, write: Write, publish: Callable[[Write], Any]) -> Any:
    staged: list[Path] = []

    def all_write(path: Path) -> object:
        staged.append(path)
        ranks.broadcast(str(path))
        return write(path)

    verdict = {"error": "rank 0 was interrupted while it wrote", "result": None}
    try:
        verdict = {"error": "", "result": publish(all_write)}
    except (OSError, RuntimeError) as error:
        if isinstance(error.__cause__, RankError):
            raise error.__cause__ from error
        verdict["error"] = str(error)
        raise
    finally:
        if not staged:
            ranks.broadcast("")
        ranks.broadcast(verdict)
    return verdict["result"]


def _write_rank(ranks: Ranks, write: Write, staged: Path, rank_state: str) -> object:
    """Write this rank's share and its own state; on rank 0 return all parts if ``write`` returned them.

    All ranks complete the exchange, even if some fail; then the failed ranks and rank 0 raise.
    """
    written: Any = None
    part, failure = None, None
    try:
        written = write(staged)
        part = _write_rank_file(staged, ranks.rank, rank_state) if rank_state else None
    except RankError:
        raise
    except (OSError, RuntimeError) as error:
        failure = error
    reports = ranks.gather([part, None if failure is None else str(failure)])
    if failure is not None:
        raise failure
    failures = [f"rank {rank}: {message}" for rank, (_, message) in enumerate(reports) if message is not None]
    if failures:
        raise OSError("; ".join(failures))
    return written and [*written, *(Part.model_validate(each) for each, _ in reports if each is not None)]


def _write_rank_file(staged: Path, rank: int, rank_state: str) -> dict[str, Any]:
    (shards,) = staged.glob(f"{SHARDS}*")
    file = shards / RANK_FILE.format(rank)
    digest = fill(file, lambda path: write_bytes(path, rank_state.encode()))
    return Part(name=f"{shards.name}/{file.name}", size=file.stat().st_size, digest=digest).model_dump()
