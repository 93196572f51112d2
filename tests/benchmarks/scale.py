"""The computed cost of 1,000 and 10,000 ranks: latencies of a decision by simulation, sizes from real objects.

``python -m tests.benchmarks.scale`` prints the tables of docs/scale.md in some seconds; no network is measured.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any

import numpy as np

from trainbus.resume.rng_state import get_rng_state
from trainbus.resume.serialization import to_json_data
from trainbus.resume.state import RankState
from trainbus.storage.sharded_directory import Part
from trainbus.storage.sizes import format_bytes

from .measuring import table

RANKS = (8, 64, 512, 1_000, 10_000)
TRIALS = 100
OF_A_RING = 25
HOP, SPREAD = 30e-6, 0.5
"""Median seconds of one message between two machines, and the spread of its logarithm."""
DELAYED, DELAY = 1e-3, 10e-3
"""Share of the messages that a busy machine delays, and the mean delay in seconds."""

Array = np.ndarray[Any, Any]


def hops(random: np.random.Generator, shape: tuple[int, ...], *, stragglers: bool) -> Array:
    """Return the seconds of this many messages."""
    seconds = HOP * np.exp(SPREAD * random.standard_normal(shape))
    if stragglers:
        seconds += (random.random(shape) < DELAYED) * random.exponential(DELAY, shape)
    return seconds


def tree(random: np.random.Generator, ranks: int, *, fan: int, stragglers: bool) -> Array:
    """A sum up a tree, each parent taking its children's messages one after the other, and the answer down it."""
    seconds = np.zeros(TRIALS)
    for _ in ("up", "down"):
        level, arrived = ranks, np.zeros((TRIALS, ranks))
        while level > 1:
            parents = -(-level // fan)
            padded = np.zeros((TRIALS, parents * fan))
            padded[:, :level] = arrived + hops(random, (TRIALS, level), stragglers=stragglers)
            taking = HOP / 10 * np.arange(1, fan + 1)  # a tenth of a hop to take one message
            arrived, level = (padded.reshape(TRIALS, parents, fan) + taking).max(2), parents
        seconds += arrived[:, 0]
    return seconds


def ring(random: np.random.Generator, ranks: int, *, stragglers: bool) -> Array:
    """A sum round a ring, as gloo's: 2 (n - 1) steps, in each of which every rank waits for its neighbour."""
    arrived = np.zeros((OF_A_RING, ranks))
    for _ in range(2 * (ranks - 1)):
        sent = arrived + hops(random, (OF_A_RING, ranks), stragglers=stragglers)
        arrived = np.maximum(arrived, np.roll(sent, 1, axis=1))
    return arrived.max(1)


def star(random: np.random.Generator, ranks: int, *, stragglers: bool) -> Array:
    """All messages to rank 0, which takes one after the other, and its answers."""
    return tree(random, ranks, fan=ranks, stragglers=stragglers)


WAYS: dict[str, Callable[..., Array]] = {
    "tree of 2": lambda random, ranks, **options: tree(random, ranks, fan=2, **options),
    "tree of 16": lambda random, ranks, **options: tree(random, ranks, fan=16, **options),
    "star": star,
    "ring": ring,
}


def latencies() -> str:
    """Milliseconds from the last rank's arrival until all know the decision: median and 99th percentile."""
    lines: list[tuple[str, ...]] = []
    for name, way in WAYS.items():
        for stragglers in (False, True):
            cells = []
            for ranks in RANKS:
                if name == "ring" and ranks > 1_000:  # it only rises; this limits one cell to a minute of computing
                    cells.append("")
                    continue
                seconds = way(np.random.default_rng(ranks), ranks, stragglers=stragglers)
                cells.append(f"{1e3 * np.median(seconds):.2f} / {1e3 * np.quantile(seconds, 0.99):.1f}")
            lines.append((f"{name}, {'stragglers' if stragglers else 'even'}", *cells))
    return table(("", *(f"{ranks:,}" for ranks in RANKS)), lines)


def sizes() -> str:
    """Bytes of what grows with the number of ranks, from real objects."""
    from torch import Size, nn
    from torch.distributed.checkpoint.filesystem import _StorageInfo
    from torch.distributed.checkpoint.metadata import (
        ChunkStorageMetadata,
        Metadata,
        MetadataIndex,
        TensorProperties,
        TensorStorageMetadata,
    )

    from trainbus.adapters.torch import TorchSubject

    share = RankState(rng=to_json_data(get_rng_state(TorchSubject(nn.Linear(1, 1)))))
    own, compressed = (len(each.model_dump_json(exclude_defaults=True)) for each in (share, share.compressed()))
    part = len(Part(name=f"shards-{'0' * 16}/__1234_0.distcp", size=10**10, digest="0" * 64).model_dump_json())

    def index(chunks: int) -> int:
        name = "model.layers.10.attention.weight"
        places = [Size([row * 1000, 0]) for row in range(chunks)]
        metadata = Metadata(
            state_dict_metadata={
                name: TensorStorageMetadata(
                    properties=TensorProperties(),
                    size=Size([chunks * 1000, 8192]),
                    chunks=[ChunkStorageMetadata(offsets=place, sizes=Size([1000, 8192])) for place in places],
                )
            },
            storage_data={
                MetadataIndex(name, place, number): _StorageInfo(f"shards-{'0' * 16}/__{number}_0.distcp", 10**9, 10**8)
                for number, place in enumerate(places)
            },
        )
        return len(pickle.dumps(metadata))

    chunk = (index(2_000) - index(1_000)) / 1_000
    tensors = 3 * 1_000  # of a model with 1,000 tensors: each, and the two moments of Adam

    def lines() -> list[tuple[str, ...]]:
        rows = {
            "all-reduce at a boundary, each rank": lambda n: 2048,
            "DDP: gathered by a save, and in the manifest": lambda n: n * compressed,
            "sharded: gathered by a save": lambda n: n * part,
            "sharded: in the manifest": lambda n: own + 2 * n * part,
            "sharded: each rank's own file": lambda n: own,
            "DCP's index, 3,000 tensors over all ranks": lambda n: n * tensors * chunk,
            "DCP's index, 3,000 tensors over 64 ranks": lambda n: min(n, 64) * tensors * chunk,
        }
        return [(name, *(format_bytes(of(ranks)) for ranks in RANKS)) for name, of in rows.items()]

    return table(("", *(f"{ranks:,}" for ranks in RANKS)), lines())


def checkpoints() -> str:
    """Seconds of a save by what the store takes in, of states of 14 bytes a parameter (Adam, mixed precision)."""
    lines: list[tuple[str, ...]] = []
    for parameters, name in ((7e9, "7 B"), (70e9, "70 B"), (1e12, "1 T")):
        size = 14 * parameters
        for ranks in (64, 1_000, 10_000):
            copied = size / ranks / 10e9
            cells = [f"{max(size / (store * 1e9), size / ranks / 1e9):,.1f}" for store in (10, 100, 1_000)]
            lines.append(
                (f"{name}, {format_bytes(size)}", f"{ranks:,}", format_bytes(size / ranks), f"{copied:.3f}", *cells)
            )
    header = ("parameters, state", "ranks", "each rank", "copy, s", "10 GB/s", "100 GB/s", "1 TB/s")
    return table(header, lines)


if __name__ == "__main__":
    for each in (latencies, sizes, checkpoints):
        print(f"{each.__doc__}\n\n{each()}\n")
