"""What ModelCheckpoint would have saved and forgotten in a recorded run."""

from __future__ import annotations

from math import nan
from typing import NamedTuple

from trainbus.plugins import ModelCheckpoint
from trainbus.plugins.model_checkpoint.schedule import SaveFrequency

from ..checkpoints.filename_template import render, template_fields
from ..metrics.names import resolve
from ..rules import Best, Kept, best_rule, retention_rule
from .metric_choice import Choice
from .records import Recording

__all__ = ["Saved", "in_epochs", "saves"]


class Saved(NamedTuple):
    """A model that is saved at the end of an epoch, and the epochs of those that are forgotten for it."""

    epoch: int
    forgotten: tuple[int, ...] = ()


def in_epochs(callback: ModelCheckpoint) -> bool:
    """Whether it saves at the end of epochs, which is all that a value an epoch can tell."""
    return SaveFrequency.parse(callback.save_freq).unit == "epoch"


def saves(
    callback: ModelCheckpoint, recording: Recording, choice: Choice | None, until: int
) -> tuple[list[Saved], tuple[int, ...]]:
    """Each model that is saved up to the epoch `until`, and the epochs whose models the files hold then.

    The rules are those that the live callback steps.
    """
    name = choice.name_in(recording) if choice is not None else None
    sign = choice.sign if choice is not None else 1
    threshold = callback.initial_value_threshold
    best = Best() if threshold is None else Best(sign * threshold)
    kept: tuple[Kept, ...] = ()
    saved: list[Saved] = []
    files: dict[str, int] = {}
    every = SaveFrequency.parse(callback.save_freq).every
    for place, epoch in enumerate(recording.epochs.tolist()):
        if epoch > until or (epoch + 1) % every:
            continue
        series = recording.metrics[name] if name is not None else None
        score = sign * float(series.values[place]) if series is not None and series.logged[place] else None
        if callback.save_best_only:
            if score is None:
                continue
            best, improved = best_rule(best, score, epoch)
            if not improved:
                continue
        path = _path(callback.filepath, recording, place)
        forgotten: tuple[str, ...] = ()
        if callback.keep or callback.keep_last:
            new = Kept(path, epoch, epoch, nan if score is None else score)
            kept, verdict = retention_rule(kept, new, best=callback.keep or 0, last=callback.keep_last or 0)
            if not verdict.save:
                continue
            forgotten = verdict.forget
        saved.append(Saved(epoch, tuple(files.pop(old) for old in forgotten)))
        files[path] = epoch
    return saved, tuple(sorted(files.values()))


def _path(template: str, recording: Recording, place: int) -> str:
    """The file of the epoch at this place; what is not recorded does not tell two files of one run apart."""
    epoch = int(recording.epochs[place])
    values: dict[str, float] = {"epoch": epoch + 1, "step": epoch + 1, "batch": 0}
    for name in template_fields(template):
        if name not in values:
            known = resolve(name, recording.metrics)
            series = recording.metrics[known] if known is not None else None
            values[name] = float(series.values[place]) if series is not None and series.logged[place] else nan
    return render(template, values)
