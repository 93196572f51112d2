"""What trainbus would call the metrics that others have written: "loss", "val_loss", "learning_rate"."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple

__all__ = ["STAGES", "Naming", "listed", "metric_name", "metric_names"]

STAGES = {
    "train": "",
    "training": "",
    "val": "val_",
    "valid": "val_",
    "validation": "val_",
    "dev": "val_",
    "eval": "val_",
    "evaluation": "val_",
    "test": "test_",
}
"""What a part of a run is called, to what stands before the names of its metrics."""

_WORDS = "|".join(stage for stage in STAGES if stage != "dev")
_BEFORE = re.compile(rf"({_WORDS})[-_. ]+(?=\S)", re.IGNORECASE)
_AFTER = re.compile(rf"(?<=\S)[-_. ]+({_WORDS})$", re.IGNORECASE)
_RATE = re.compile(r"(?:lr|learning[-_ ]?rate)(?:[-/](.+))?$", re.IGNORECASE)
_WHOLE = re.compile(r"(?<!per)(?<!best)(?<!last)(?<!num)[_/]epoch$")
_SINGLE = re.compile(r"[_/](?:step|batch)$")
RATE = "learning_rate"
_SHOWN = 3


class Naming(NamedTuple):
    """What each thing that was written is called."""

    names: dict[str, str]
    """As it was written, to the metric's name; what is left out is missing."""
    notes: list[str]
    """What was left out or guessed, a sentence each."""


def metric_name(written: str) -> str:
    """What one metric is called, by itself.

    >>> [metric_name(name) for name in ("Loss/train", "loss/val", "valid_acc", "train_loss_epoch", "lr-Adam/pg1")]
    ['loss', 'val_loss', 'val_acc', 'loss_epoch', 'learning_rate/Adam/pg1']
    """
    rate = _RATE.match(written)
    if rate:
        return f"{RATE}/{rate[1]}" if rate[1] else RATE
    parts = written.strip().split("/")
    for place in (0, -1) if len(parts) > 1 else ():
        stage = STAGES.get(parts[place].lower())
        if stage is not None:
            del parts[place]
            return stage + _bare("/".join(parts))
    for affix in (_BEFORE.match(written), _AFTER.search(written)):
        if affix:
            return STAGES[affix[1].lower()] + _bare(written.replace(affix[0], "", 1))
    return _bare(written)


def metric_names(written: Iterable[str]) -> Naming:
    """What all metrics of one run are called; no two get the same name.

    A metric that was written at batches is left out where there is the same one for whole epochs.

    >>> metric_names(["train_loss_step", "train_loss_epoch", "val_loss", "lr-Adam"]).names
    {'train_loss_epoch': 'loss', 'val_loss': 'val_loss', 'lr-Adam': 'learning_rate'}
    """
    given = list(dict.fromkeys(written))
    wanted = {name: metric_name(_WHOLE.sub("", name)) for name in given}
    single = [name for name in given if _SINGLE.search(name) and _of_batches(name, wanted)]
    for name in single:
        del wanted[name]
    rates = [name for name, called in wanted.items() if called.split("/")[0] == RATE]
    if len(rates) == 1:
        wanted[rates[0]] = RATE
    names: dict[str, str] = {}
    notes = [f"{listed(single)}: of single batches, and left out."] if single else []
    # where two would be called the same, the one that is called so, or that is of whole epochs, is
    for name in sorted(wanted, key=lambda name: (wanted[name] != name, not _WHOLE.search(name))):
        called = wanted[name]
        if called in names.values():
            first = next(other for other, taken in names.items() if taken == called)
            called = name if name not in names.values() else f"{name} "
            notes.append(f"{name!r} is called {called!r}, since {first!r} is {wanted[name]!r} already.")
        names[name] = called
    return Naming({name: names[name] for name in given if name in names}, notes)


def _of_batches(name: str, wanted: Mapping[str, str]) -> bool:
    """Whether another name is that of the same metric for whole epochs."""
    stem = _SINGLE.sub("", name)
    return any(other not in (name, stem) and called == metric_name(stem) for other, called in wanted.items())


def _bare(name: str) -> str:
    """`Loss` as `loss`, and `AUC` as it is."""
    return name.lower() if name[:1].isupper() and (name[1:].islower() or not name[1:]) else name


def listed(names: Iterable[str]) -> str:
    """Some names in a sentence.

    >>> listed("abcd")
    "'a', 'b', 'c' and 1 more"
    """
    given = list(names)
    shown = ", ".join(repr(name) for name in given[:_SHOWN])
    return f"{shown} and {len(given) - _SHOWN} more" if len(given) > _SHOWN else shown
