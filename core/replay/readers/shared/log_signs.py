"""Signs that rows of numbers without an epoch or step record a run, and are no data, labels or predictions."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from ..metric_names import HELD_OUT, standard_name

_LOGS: Final = {"curve", "curves", "hist", "history", "log", "logger", "logs", "losses", "metrics", "progress"} | {
    "result",
    "results",
    "scalars",
}
_OF: Final = {"csv", "eval", "keras", "loss", "model", "run", "test", "train", "training", "val", "valid", "validation"}
_FOLDERS: Final = {"history", "log", "logs", "metrics"}
_SEPARATORS: Final = re.compile(r"[\W\d_]+")
_TIMES: Final = {"_runtime", "_timestamp", "timestamp", "wall_time"}
_TRAINING: Final = re.compile(r"(?:^|[-_. /])train(?:ing)?(?:$|[-_. /])", re.IGNORECASE)


def records_a_run(path: Path, labels: Iterable[str]) -> bool:
    """Return whether the names of a file or of its columns are those of a log.

    Args:
        path: The file. Its own name must have no other words than those of logs, as ``train_log.csv``; or its directory
            is called ``logs`` or such.
        labels: The labels of its columns. Those of a log tell the training, the time at which a row was written,
            or one metric for two sets of data.

    >>> records_a_run(Path("a.csv"), ["loss", "val_loss"]), records_a_run(Path("preds.csv"), ["id", "loss"])
    (True, False)
    """
    if _called_like_log(path.stem) or path.parent.name.lower() in _FOLDERS:
        return True
    given = list(labels)
    return any(label in _TIMES or _TRAINING.search(label) for label in given) or _has_two_stages(given)


def _called_like_log(stem: str) -> bool:
    words = {word for word in _SEPARATORS.split(stem.lower()) if word}
    return bool(words & _LOGS) and words <= _LOGS | _OF


def _has_two_stages(labels: Iterable[str]) -> bool:
    """Return whether the same metric is there for two sets of data, as ``loss`` and ``val_loss``."""
    plain: set[str] = set()
    for label in labels:
        name = standard_name(label)
        metric = next((name.removeprefix(stage) for stage in HELD_OUT if name.startswith(stage)), name)
        if metric in plain:
            return True
        plain.add(metric)
    return False
