"""How much a file may hold, whatever wrote it: beyond these limits, each reader raises its error in one line.

A file from elsewhere may be damaged, or made to hang or to fill the memory. Readers compare what it declares with these
limits before they allocate memory for it. The limits are far above what real runs write.
"""

from __future__ import annotations

from typing import Final

MB: Final = 1_000_000

MESSAGE: Final = 500
"""Characters of a framework's error message that trainbus repeats."""

# --- checkpoints

EXPANSION: Final = 20
"""An archive, or arrays in it, may unpack to this many times the size of its file ..."""
EXPANSION_FLOOR: Final = 16 * MB
"""... and in any case to this many bytes."""
NESTING: Final = 100
"""Containers inside each other, in the state that a file holds."""
KEY_LENGTH: Final = 300
"""Characters of a key of a dictionary that a file holds as a Python literal, such as a number."""
DIMENSIONS: Final = 64
"""Axes of a tensor."""
INDEX_BYTES: Final = 1000 * MB
"""The index of a sharded directory, ``.metadata``."""
SCHEMA_NODES: Final = 1_000_000
"""Objects in a ``.skops`` file, each counted as often as others refer to it."""

# --- the manifest and the state of a run

MANIFEST_BYTES: Final = 256 * MB
"""A manifest, and the record of a run's end."""
RUN_ID: Final = 100
"""Bytes of the identifier of a run, which may be the name of a directory."""
RANKS: Final = 1 << 20
"""Processes that trained a run together."""
BATCHES: Final = 1 << 53
"""Batches of an epoch, or samples of a batch."""
HISTORY_BYTES: Final = 1000 * MB
"""The history of a run, beside its checkpoints."""
SEARCHED: Final = 100_000
"""Files below a directory of a run that are searched for manifests, before what none of them names is removed."""
LOG_EXPANSION: Final = 200
"""Compressed data in a manifest may unpack to this many times their size, and to ``EXPANSION_FLOOR`` in any case."""

# --- journals, recorded runs and settings

JOURNAL_BYTES: Final = 1000 * MB
"""A journal."""
JOURNAL_LINE: Final = 4 * MB
"""One line of it, in bytes."""
EPOCHS: Final = 1 << 53
"""The number of an epoch; up to it, double precision is exact."""
STEPS: Final = 1 << 63
"""The number of a step, or of updates."""
LARGEST: Final = 1e300
"""A recorded value beyond it, in either direction, is read as an infinity: differences of two values must be finite."""
RUN_EPOCHS: Final = 100_000
"""Epochs of one recorded run."""
ROWS: Final = 1_000_000
"""Rows of a table; several may belong to one epoch."""
METRICS: Final = 100_000
"""Metrics of one recorded run."""
NAME_LENGTH: Final = 1_000
"""Characters of a metric's name in a recorded run."""
JSON_BYTES: Final = 256 * MB
"""A JSON file with a training history."""
CSV_LINE: Final = 1_000_000
"""Characters of one line of a table."""
WHOLE_NUMBER: Final = (1 << 63) - 1
"""A whole number that is given as an option or an argument, in either direction: the integers of TOML and of arrays."""
DURATION: Final = 100 * 365 * 86_400
"""Seconds of a length of time that is given as an option."""
SETTINGS_BYTES: Final = 256_000
"""A settings file."""
SETTINGS_LINE: Final = 2_000
"""Characters of one line of it."""


def check_whole_number(value: object, most: int = WHOLE_NUMBER) -> None:
    """Refuse an integer beyond ``most``, in either direction; any other value passes.

    Raises:
        ValueError: It is beyond it.

    >>> check_whole_number(2**63)
    Traceback (most recent call last):
        ...
    ValueError: give a number of at most 9,223,372,036,854,775,807
    """
    if isinstance(value, int) and abs(value) > most:
        bound = f"at most {most:,}" if value > 0 else f"at least {-most:,}"
        raise ValueError(f"give a number of {bound}")


def unpacked_limit(size: int) -> int:
    """Return how many bytes a file of this size may unpack to.

    >>> unpacked_limit(100), unpacked_limit(1_000_000_000)
    (16000000, 20000000000)
    """
    return max(EXPANSION * size, EXPANSION_FLOOR)
