"""The cost of calling listeners at a batch's begin and end: ``python -m tests.benchmarks.dispatch [rounds]``.

All libraries in one process, in a new random order each round; a figure is the nanoseconds for one begin and
one end, those of an empty loop subtracted.
"""

from __future__ import annotations

import sys
from time import perf_counter_ns

from .measuring import Spread, Timed, interleaved, table, versions
from .peers import PEERS, BareLoop, Peer, TrainbusEvents, TrainbusLoop

CASES = {
    "0": (0, True),
    "1": (1, True),
    "4": (4, True),
    "16": (16, True),
    "16 epoch-only": (16, False),
}
BATCHES = 2000
LEAST_NS = 5_000_000
"""Minimum duration of one measurement."""
ASKED = {
    "PluggyCall": {"0": 8.0, "1": 8.0, "4": 8.0, "16": 8.0},
    "CachedPluggyCall": {"0": 8.0, "1": 8.0, "4": 8.0, "16": 8.0},
    "IgniteEngine": {"0": 8.0, "1": 8.0, "4": 8.0, "16": 8.0},
    "SkorchNotify": {"0": 8.0, "1": 8.0, "4": 8.0, "16": 8.0},
    "TransformersHandler": {"0": 10.0, "1": 10.0, "4": 10.0, "16": 10.0},
    "LightningHooks": {"0": 40.0, "1": 40.0, "4": 40.0, "16": 40.0},
    "KerasList": {"1": 8.0, "4": 4.0, "16": 2.5},
}
"""Target speedup over each library."""


def main(rounds: int = 41) -> None:
    """Measure, and print the tables."""
    kinds: list[type[Peer]] = [TrainbusLoop, TrainbusEvents]
    for kind in PEERS:
        try:
            kind(0, hear_batches=False)
            kinds.append(kind)
        except ImportError as error:
            print(f"{kind.name} is left out: {error}\n")
    results = _measured(kinds, rounds)
    print(f"{versions('trainbus', *(kind.package for kind in kinds[2:]))}; {rounds} rounds of {BATCHES} batches\n")
    print("Nanoseconds for begin + end of one batch, median (minimum), by number of listeners:\n")
    print(table(["", *CASES], ([kind.name, *(results[kind, case] for case in CASES)] for kind in kinds)))
    for own in (TrainbusLoop, TrainbusEvents):
        print(f"\nTimes that of {own.name}, by medians (by minima), and what was aimed at:\n")
        print(table(["", *CASES], ([kind.name, *_ratios(results, kind, own)] for kind in kinds if kind is not own)))


def _measured(kinds: list[type[Peer]], rounds: int) -> dict[tuple[type[Peer], str], Spread]:
    items = range(BATCHES)
    timed: dict[tuple[type[Peer], str], Timed] = {(BareLoop, ""): _timed(BareLoop(), items)}
    for case, (listeners, hear_batches) in CASES.items():
        for kind in kinds:
            timed[kind, case] = _timed(kind(listeners, hear_batches=hear_batches), items)
    results = interleaved(timed, rounds)
    bare = results.pop((BareLoop, ""))
    return {key: Spread(each.median - bare.median, each.minimum - bare.minimum) for key, each in results.items()}


def _timed(peer: Peer, items: range) -> Timed:
    listed = list(items)  # so that making the numbers is not part of the loop
    peer(listed)
    start = perf_counter_ns()
    peer(listed)
    # a measurement of microseconds would include cold caches left by the previous one
    times = max(1, LEAST_NS // (perf_counter_ns() - start))

    def go() -> None:
        for _ in range(times):
            peer(listed)

    return Timed(go, times * len(listed))


def _ratios(results: dict[tuple[type[Peer], str], Spread], kind: type[Peer], own: type[Peer]) -> list[str]:
    ratios: list[str] = []
    for case in CASES:
        each, ours = results[kind, case], results[own, case]
        aim = ASKED.get(kind.__name__, {}).get(case)
        ratio = f"{each.median / ours.median:,.1f} ({each.minimum / ours.minimum:,.1f})"
        ratios.append(ratio + (f" of {aim:g}" if aim else ""))
    return ratios


if __name__ == "__main__":
    main(*(int(argument) for argument in sys.argv[1:]))
