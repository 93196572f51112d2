"""What the ranks of one job exchange; ``python -m tests.adapters.shared.rank_scenes FOLDER FRAMEWORK`` is one rank."""

from __future__ import annotations

import os
import random
import sys
from collections.abc import Callable
from typing import Any

from trainbus import RankError
from trainbus.capabilities import Ranks

from ...distributed.jobs import report

SIZE = 3
SHORT = 10
"""Seconds that ranks wait in vain; a slow machine needs some of them to connect the ranks."""
LENGTHS = [0, 1, 500, *range(1010, 1022), 2048, 100_000]
"""Lengths of texts; some are near the length of the first message of a broadcast on torch."""
RANDOM = random.Random(0)
NUMBERS = [[RANDOM.uniform(-1, 1) * 10 ** RANDOM.randrange(-20, 20) for _ in range(50)] for _ in range(SIZE)]
"""The numbers of each rank, whose sum depends on the order of the additions."""
VALUES: list[Any] = [None, True, 1.5, "ü\n", [], {}, [1, [2, {"a": None}]], {"x": {"y": [0.1, -1e300]}}]


def outcome(exchange: Callable[[], object]) -> str:
    """Return the error of an exchange as text; "none" without one."""
    try:
        exchange()
    except RankError as error:
        return str(error)
    return "none"


def reductions(make: Callable[[float], Ranks]) -> list[Any]:
    ranks = make(60)
    mine = NUMBERS[ranks.rank]
    return [ranks.all_reduce_sum(mine), ranks.all_reduce_max(mine), ranks.all_reduce_sum([])]


def broadcasts(make: Callable[[float], Ranks]) -> list[Any]:
    ranks = make(60)
    texts = [len(ranks.broadcast("x" * length if ranks.rank == 0 else "other")) for length in LENGTHS]
    return [texts, [ranks.broadcast(value if ranks.rank == 0 else "other") for value in VALUES]]


def gathered(make: Callable[[float], Ranks]) -> list[Any]:
    ranks = make(60)
    texts = [[len(text) for text in ranks.gather("x" * (length * ranks.rank))] for length in LENGTHS]
    return [texts, [ranks.gather([ranks.rank, value]) for value in VALUES]]


def notes(make: Callable[[float], Ranks]) -> list[Any]:
    """Each rank tries to store the same name in two groups."""
    first, second = make(60), make(60)
    stored = [ranks.put_if_absent("name", f"{which} of {ranks.rank}") for which, ranks in (("a", first), ("b", second))]
    first.all_reduce_sum([])
    return [stored, [first.get("name"), second.get("name")], first.get("missing")]


def left(make: Callable[[float], Ranks]) -> list[Any]:
    """Rank 1 leaves with a reason."""
    ranks = make(60)
    ranks.all_reduce_sum([])
    if ranks.rank == 1:
        ranks.put_if_absent("left/1", "ValueError: mine")
        ranks.close()
        ranks.close()
    return [outcome(lambda: ranks.all_reduce_sum([1.0])), outcome(lambda: ranks.broadcast(1))]


def formed(make: Callable[[float], Ranks]) -> Ranks:
    """Return a group with a short timeout, formed when all ranks are here: one may come from an earlier scene."""
    make(60).all_reduce_sum([])
    ranks = make(SHORT)
    ranks.all_reduce_sum([])
    return ranks


def late(make: Callable[[float], Ranks]) -> list[Any]:
    """Rank 2 comes too late, but answers the store."""
    ranks = formed(make)
    if ranks.rank == 2:
        while ranks.get("seen/0") is None or ranks.get("seen/1") is None:
            pass
        return []
    found = [outcome(lambda: ranks.gather("x"))]
    ranks.put_if_absent(f"seen/{ranks.rank}", "yes")
    return found


def silent(make: Callable[[float], Ranks]) -> list[Any]:
    """Rank 2 neither comes nor answers the store before the others have failed."""
    ranks, other = formed(make), make(60)
    other.all_reduce_sum([])
    found = [] if ranks.rank == 2 else [outcome(lambda: ranks.all_reduce_sum([1.0]))]
    other.all_reduce_sum([])
    return found


SCENES = (reductions, broadcasts, gathered, notes, left, late, silent)


def connected(framework: str) -> tuple[Callable[[float], Ranks], Callable[[], None]]:
    """Connect this process with the others; return what makes a group with a timeout, and what disconnects."""
    rank, size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    if framework == "torch":
        import torch.distributed as dist  # noqa: PLC0415

        from trainbus.adapters.shared.torch_ranks import TorchRanks, rank_and_size  # noqa: PLC0415

        assert rank_and_size() == (0, 1), "no process group yet"
        dist.init_process_group("gloo")
        assert rank_and_size() == (rank, size)
        return TorchRanks, dist.destroy_process_group
    import jax  # type: ignore[import-not-found, unused-ignore] # noqa: PLC0415

    from trainbus.adapters.shared.jax_ranks import JaxRanks  # noqa: PLC0415

    jax.distributed.initialize(f"{os.environ['MASTER_ADDR']}:{os.environ['MASTER_PORT']}", size, rank)
    return JaxRanks, jax.distributed.shutdown


def main() -> None:
    """Play every scene, each with new groups; between them all ranks wait for each other."""
    make, disconnect = connected(sys.argv[2])
    together = make(60)
    found: dict[str, Any] = {}
    for scene in SCENES:
        found[scene.__name__] = scene(make)
        together.all_reduce_sum([])
    report(found)
    together.all_reduce_sum([])
    disconnect()


if __name__ == "__main__":
    main()
