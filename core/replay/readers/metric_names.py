"""Conversion of the metric names of other tools to standard names such as "loss", "val_loss" and "learning_rate"."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from functools import lru_cache
from typing import NamedTuple

from ...errors import SettingsError
from ...limits import METRICS, NAME_LENGTH

STAGES = {
    "train": "",
    "training": "",
    "learn": "",
    "val": "val_",
    "valid": "val_",
    "validation": "val_",
    "dev": "val_",
    "eval": "val_",
    "evaluation": "val_",
    "test": "test_",
}
"""The prefix of the standard name for each stage of a run."""
HELD_OUT = tuple(dict.fromkeys(filter(None, STAGES.values())))
"""The prefixes of the standard names of metrics on held-out data."""

_WORDS = "|".join(stage for stage in STAGES if stage not in ("dev", "learn"))  # learn_rate is no rate of a stage
_PREFIX = re.compile(rf"({_WORDS})[-_. ]+(?=\S)", re.IGNORECASE)
_SUFFIX = re.compile(rf"(?<=\S)[-_. ]+({_WORDS})$", re.IGNORECASE)
_LEARNING_RATE = re.compile(r"(?:lr|learning[-_ ]?rate)(?:[-/](.+))?$", re.IGNORECASE)
_EPOCH_SUFFIX = re.compile(r"(?<!per)(?<!best)(?<!last)(?<!num)[_/]epoch$")
_BATCH_SUFFIX = re.compile(r"[_/](?:step|batch)$")
_RATE = "learning_rate"
_SHOWN = 3


@lru_cache(maxsize=4096)
def is_held_out(name: str) -> bool:
    """Return whether a name says that its numbers are of held-out data.

    >>> is_held_out("Test/Average_loss"), is_held_out("Val"), is_held_out("loss")
    (True, False, False)
    """
    return standard_name(name).startswith(HELD_OUT)


class Naming(NamedTuple):
    """The standard names of the metrics of one run."""

    names: dict[str, str]
    """Written name to standard name, without the metrics that are left out."""
    notes: list[str]
    """What was left out or guessed, one sentence each."""

    @property
    def trained(self) -> frozenset[str]:
        """The standard names of metrics whose written names say that they are those of the training."""
        return frozenset(standard for written, standard in self.names.items() if names_training(written))


def standard_name(written: str) -> str:
    """Return the standard name of one metric, regardless of others.

    >>> [standard_name(name) for name in ("Loss/train", "loss/val", "valid_acc", "train_loss_epoch", "lr-Adam/pg1")]
    ['loss', 'val_loss', 'val_acc', 'loss_epoch', 'learning_rate/Adam/pg1']
    """
    rate = _LEARNING_RATE.match(written)
    if rate:
        return f"{_RATE}/{rate[1]}" if rate[1] else _RATE
    stage, name = _split(written)
    return _uncapitalized(name) if stage is None else _of_stage(stage, name)


def names_training(written: str) -> bool:
    """Return whether a name says that the metric is that of the training, which its standard name does not.

    >>> names_training("train_loss"), names_training("loss"), names_training("val_loss")
    (True, False, False)
    """
    return not _LEARNING_RATE.match(written) and _split(written)[0] == ""


def _split(written: str) -> tuple[str | None, str]:
    """Return the prefix of the stage that a name tells, None if it tells none, and the rest of the name."""
    parts = written.strip().split("/")
    for index in (0, -1) if len(parts) > 1 else ():
        stage = STAGES.get(parts[index].lower())
        if stage is not None:
            del parts[index]
            return stage, "/".join(parts)
    for affix in (_PREFIX.match(written), _SUFFIX.search(written)):
        if affix:
            return STAGES[affix[1].lower()], written.replace(affix[0], "", 1)
    return None, written


def _of_stage(stage: str, name: str) -> str:
    """Return the standard name of a metric of a stage; the learning rate of the training is that of the run."""
    return standard_name(name) if not stage and _LEARNING_RATE.match(name) else stage + _uncapitalized(name)


def check_metrics(run: str, labels: Collection[str]) -> None:
    """Raise an error if a recorded run has too many metrics or too long metric names (see ``trainbus.limits``).

    Raises:
        SettingsError: The run exceeds a limit.
    """
    if len(labels) > METRICS:
        raise SettingsError(f"the run {run!r} has {len(labels):,} metrics; the limit is {METRICS:,}")
    longest = max(labels, key=len, default="")
    if len(longest) > NAME_LENGTH:
        start = longest[:40]
        raise SettingsError(
            f"the run {run!r} has a metric name of {len(longest):,} characters, {start!r}...; the limit is "
            f"{NAME_LENGTH:,}"
        )


def standard_names(written: Iterable[str]) -> Naming:
    """Return unique standard names for all metrics of one run.

    A metric of single batches is left out if the same metric of complete epochs exists.

    >>> standard_names(["train_loss_step", "train_loss_epoch", "val_loss", "lr-Adam"]).names
    {'train_loss_epoch': 'loss', 'val_loss': 'val_loss', 'lr-Adam': 'learning_rate'}
    """
    given = list(dict.fromkeys(written))
    wanted = {name: standard_name(_EPOCH_SUFFIX.sub("", name)) for name in given}
    holders: dict[str, set[str]] = {}
    for name, standard in wanted.items():
        holders.setdefault(standard, set()).add(name)
    batches = [name for name in given if _BATCH_SUFFIX.search(name) and _has_epoch_metric(name, holders)]
    for name in batches:
        del wanted[name]
    rates = [name for name, standard in wanted.items() if standard.split("/")[0] == _RATE]
    if len(rates) == 1:
        wanted[rates[0]] = _RATE
    names: dict[str, str] = {}
    taken: dict[str, str] = {}
    notes = [f"{list_names(batches)}: values of single batches are left out."] if batches else []
    # if two metrics map to one name, a metric written with that name gets it, else a metric of complete epochs
    for name in sorted(wanted, key=lambda name: (wanted[name] != name, not _EPOCH_SUFFIX.search(name))):
        standard = wanted[name]
        first = taken.get(standard)
        if first is not None:
            standard = name if name not in taken else f"{name} "
            notes.append(f"{name!r} is named {standard!r}, since {first!r} is already named {wanted[name]!r}.")
        names[name] = standard
        taken.setdefault(standard, name)
    return Naming({name: names[name] for name in given if name in names}, notes)


def _has_epoch_metric(name: str, holders: Mapping[str, set[str]]) -> bool:
    """Return whether another name denotes the same metric for complete epochs."""
    stem = _BATCH_SUFFIX.sub("", name)
    return bool(holders.get(standard_name(stem), set()) - {name, stem})


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
