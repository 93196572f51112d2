"""Standard names, such as "loss", "val_loss" and "learning_rate", for the metric names of other tools."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple

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
"""The prefix of the standard name for each stage of a run."""

_WORDS = "|".join(stage for stage in STAGES if stage != "dev")
_PREFIX = re.compile(rf"({_WORDS})[-_. ]+(?=\S)", re.IGNORECASE)
_SUFFIX = re.compile(rf"(?<=\S)[-_. ]+({_WORDS})$", re.IGNORECASE)
_LEARNING_RATE = re.compile(r"(?:lr|learning[-_ ]?rate)(?:[-/](.+))?$", re.IGNORECASE)
_EPOCH_SUFFIX = re.compile(r"(?<!per)(?<!best)(?<!last)(?<!num)[_/]epoch$")
_BATCH_SUFFIX = re.compile(r"[_/](?:step|batch)$")
_RATE = "learning_rate"
_SHOWN = 3


class Naming(NamedTuple):
    """The standard names of the metrics of one run."""

    names: dict[str, str]
    """Written name to standard name, without the metrics that are left out."""
    notes: list[str]
    """What was left out or guessed, one sentence each."""


def standard_name(written: str) -> str:
    """Return the standard name of one metric, regardless of others.

    >>> [standard_name(name) for name in ("Loss/train", "loss/val", "valid_acc", "train_loss_epoch", "lr-Adam/pg1")]
    ['loss', 'val_loss', 'val_acc', 'loss_epoch', 'learning_rate/Adam/pg1']
    """
    rate = _LEARNING_RATE.match(written)
    if rate:
        return f"{_RATE}/{rate[1]}" if rate[1] else _RATE
    parts = written.strip().split("/")
    for index in (0, -1) if len(parts) > 1 else ():
        stage = STAGES.get(parts[index].lower())
        if stage is not None:
            del parts[index]
            return stage + _uncapitalized("/".join(parts))
    for affix in (_PREFIX.match(written), _SUFFIX.search(written)):
        if affix:
            return STAGES[affix[1].lower()] + _uncapitalized(written.replace(affix[0], "", 1))
    return _uncapitalized(written)


def standard_names(written: Iterable[str]) -> Naming:
    """Return unique standard names for all metrics of one run.

    A metric of single batches is left out if the same metric of complete epochs exists.

    >>> standard_names(["train_loss_step", "train_loss_epoch", "val_loss", "lr-Adam"]).names
    {'train_loss_epoch': 'loss', 'val_loss': 'val_loss', 'lr-Adam': 'learning_rate'}
    """
    given = list(dict.fromkeys(written))
    wanted = {name: standard_name(_EPOCH_SUFFIX.sub("", name)) for name in given}
    batches = [name for name in given if _BATCH_SUFFIX.search(name) and _has_epoch_metric(name, wanted)]
    for name in batches:
        del wanted[name]
    rates = [name for name, standard in wanted.items() if standard.split("/")[0] == _RATE]
    if len(rates) == 1:
        wanted[rates[0]] = _RATE
    names: dict[str, str] = {}
    notes = [f"{list_names(batches)}: values of single batches are left out."] if batches else []
    # if two want one name, the metric that is written so gets it, then the one of complete epochs
    for name in sorted(wanted, key=lambda name: (wanted[name] != name, not _EPOCH_SUFFIX.search(name))):
        standard = wanted[name]
        if standard in names.values():
            first = next(other for other, taken in names.items() if taken == standard)
            standard = name if name not in names.values() else f"{name} "
            notes.append(f"{name!r} is named {standard!r}, since {first!r} is already named {wanted[name]!r}.")
        names[name] = standard
    return Naming({name: names[name] for name in given if name in names}, notes)


def _has_epoch_metric(name: str, wanted: Mapping[str, str]) -> bool:
    """Return whether another name denotes the same metric for complete epochs."""
    stem = _BATCH_SUFFIX.sub("", name)
    return any(other not in (name, stem) and standard == standard_name(stem) for other, standard in wanted.items())


def _uncapitalized(name: str) -> str:
    """Return ``Loss`` as ``loss``, and ``AUC`` unchanged."""
    return name.lower() if name[:1].isupper() and (name[1:].islower() or not name[1:]) else name


def list_names(names: Iterable[str]) -> str:
    """Return the first few names, quoted, for a sentence.

    >>> list_names("abcd")
    "'a', 'b', 'c' and 1 more"
    """
    given = list(names)
    shown = ", ".join(repr(name) for name in given[:_SHOWN])
    return f"{shown} and {len(given) - _SHOWN} more" if len(given) > _SHOWN else shown
