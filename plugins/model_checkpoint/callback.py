"""Save the model, or only the best one, during training."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from trainbus import MissingDependency, SettingsError, TrainbusError
from trainbus.callback.planned_training import PlannedTraining
from trainbus.capabilities import (
    BackgroundSaveable,
    Saveable,
    SavesContent,
    SavesParts,
    Sharded,
    saves_in_background,
    supports,
)
from trainbus.checkpoints.names.filename_template import (
    glob_pattern,
    sibling_path,
    suffix_in,
    truncated_glob,
)
from trainbus.settings.run_id import RunStart, filled
from trainbus.storage.atomic_file import suffix_of
from trainbus.storage.backend import backend_for
from trainbus.storage.paths import absolute, absolute_entry, location
from trainbus.storage.sharded_directory import holds_parts

from ..comparison.tie_breaker import effective_tie_breaker, unknown_tie_breakers
from ..epoch_fields import epoch_fields
from ..frequency import Frequency
from .batch_saver import BatchSaver
from .earlier_run import holds_checkpoints, versioned
from .file_names import check_local
from .fixed_names import LINK, names_of
from .part_field import in_parts, part_problems, templates_in
from .saver import Saver
from .settings import CheckpointSettings


class ModelCheckpoint(CheckpointSettings):
    """Save the model at the end of every epoch, or at other intervals, and keep all files, the best or the last.

    Each file is written under a temporary name, synced and renamed, so the path always holds a complete checkpoint.
    Old files are removed only after the new one is complete. A model whose metric is missing or not finite is never
    one of the best.

    With both ``keep`` and ``keep_last``, a file is kept while it is one of the best or one of the last.
    ``save_best_only`` is applied first: it skips every model that is not a new best. With it, ``keep=3`` keeps the
    last three new bests; without it, ``keep=3`` keeps the best three of all models.

    >>> ModelCheckpoint("best.keras", save_best_only=True).filepath
    'best.keras'
    >>> ModelCheckpoint("m-{epoch}", keep=3, keep_last=2, save_freq="500 steps").keep
    3
    >>> ModelCheckpoint("m", keep=3)
    Traceback (most recent call last):
        ...
    trainbus.errors.SettingsError: ModelCheckpoint: keep=3: filepath='m' gives every checkpoint the same name; put ...
    >>> ModelCheckpoint("m-{val_loss:03d}.pt")
    Traceback (most recent call last):
        ...
    trainbus.errors.SettingsError: ModelCheckpoint: filepath='m-{val_loss:03d}.pt': {val_loss:03d}: val_loss is ...
    """

    def effective_settings(self, subject: object = None) -> dict[str, Any]:
        """Return the settings with an absolute path, with its suffix, and without those that have no effect."""
        settings = effective_tie_breaker(super().effective_settings(subject), subject)
        filepath = self.filepath
        if supports(subject, Saveable):
            with suppress(SettingsError, MissingDependency):  # a run reports it
                filepath = self.template_for(subject)
        unused = ["background", "content", "existing"]
        return {
            **{name: value for name, value in settings.items() if name not in unused},
            "filepath": absolute_entry(filepath),
            "save_freq": list(Frequency.parse(self.save_freq)),
            "save_on": self._effective_moments(),
        }

    def _effective_moments(self) -> list[str] | dict[str, str]:
        names = names_of(False, self.save_on)  # noqa: FBT003
        return sorted(names) if all(key == name for key, name in names.items()) else names

    def for_run(self, start: RunStart) -> ModelCheckpoint:
        """Return the callback of one run, with the run's id in its path and the directory of its version.

        Args:
            start: How the run starts.

        Raises:
            SettingsError: The path needs an id, which was not given.
        """

        def is_run(run_id: str) -> bool:
            named = self.with_option("filepath", filled(self.filepath, run_id, template=True))
            return holds_checkpoints(named, start.subject)

        filepath = start.fill("ModelCheckpoint: filepath", self.filepath, template=True, is_run=is_run)
        named = self.with_option("filepath", filepath)
        if self.existing == "version":
            return named.with_option("filepath", versioned(named, start.resume, start.subject))
        return named

    def epoch_options(self) -> Mapping[str, str]:
        """Return the templates with an epoch, and ``save_freq`` if it counts several."""
        frequency = Frequency.parse(self.save_freq)
        found = {f"save_freq={self.save_freq!r}": 'give steps, as in save_freq="500 steps"'}
        found = found if frequency.in_epochs and frequency.every > 1 else {}
        options = {"last": "save_last"}
        fixed = {options.get(key, f"save_on {key}"): name for key, name in self.fixed_names().items()}
        return {**found, **epoch_fields({"filepath": self.filepath, **fixed})}

    def idle_reason(self, planned: PlannedTraining) -> str:
        """Return that no save is due in what the loop will train."""
        frequency = Frequency.parse(self.save_freq)
        if frequency.times_due(planned) != 0:
            return ""
        known = frequency.planned_in_words(planned)
        return f"it never saves to filepath={self.filepath!r}: save_freq={self.save_freq!r}, but {known}"

    def requires(self) -> tuple[type, ...]:
        """Require a subject that can be saved, in the background if ``background=True``, and with ``content``."""
        more = (BackgroundSaveable, self.background), (SavesContent, self.content)
        return (Saveable, *(capability for capability, given in more if given))

    def exclusive_paths(self, subject: object = None) -> tuple[str, ...]:
        """Return the template and the fixed names in its directory, as absolute paths; those of each of several models.

        Args:
            subject: What is trained.
        """
        # several callbacks may write the file "signal", since all of them save the same model
        fixed = [path for stem, path in self.fixed_paths().items() if stem != "signal" or self.content]
        return tuple(absolute_entry(each) for path in (self.filepath, *fixed) for each in templates_in(path, subject))

    def locked_directories(self) -> tuple[str, ...]:
        """Return the directory of the files: the deepest one without a field in its path."""
        return (absolute(sibling_path(self.filepath, "", "")),)

    def path_settings(self) -> tuple[str, ...]:
        """Return "filepath"."""
        return ("filepath",)

    def checkpoint_patterns(self, subject: object = None) -> tuple[str, ...]:
        """Return patterns of the template and of the fixed names; without a suffix, with each that the subject writes.

        If the subject has no suffix, any suffix is allowed.
        """
        suffixes, added = [suffix_in(self.filepath)], [""]
        if not suffixes[0]:
            suffixes = added = [".*"]
            if supports(subject, Saveable):
                written = (subject.suffixes(weights_only=weights_only) for weights_only in (False, True))
                suffixes = added = list(dict.fromkeys(suffix for each in written for suffix in each))
        templates = templates_in(self.filepath, subject)
        paths = (*templates, *(each for path in self.fixed_paths().values() for each in templates_in(path, subject)))
        patterns = [glob_pattern(path) + suffix for path in paths for suffix in added]
        short = filter(None, map(truncated_glob, templates))
        return (*patterns, *(each + suffix for each in short for suffix in suffixes))

    def validate_for(self, subject: object) -> Iterator[TrainbusError]:
        """Also yield a second metric without a direction, and a ``filepath`` that the subject cannot write."""
        yield from super().validate_for(subject)
        yield from unknown_tie_breakers(self, self.tie_breaker, self.tie_breaker_mode, subject)
        if supports(subject, Saveable):
            for problem in part_problems([self.filepath, *self.fixed_paths().values()], subject):
                yield SettingsError(f"ModelCheckpoint: filepath={self.filepath!r}: {problem}")
            try:
                self._check_path_for(subject)
            except MissingDependency as error:
                yield error
            except SettingsError as error:
                yield SettingsError(f"ModelCheckpoint: filepath={error}")

    def _check_path_for(self, subject: Saveable) -> None:
        path = location(self.template_for(subject))
        suffix = subject.suffixes(weights_only=self.save_weights_only)[0]
        if self.background and supports(subject, BackgroundSaveable) and not saves_in_background(subject, path.name):
            raise SettingsError(
                f"{self.filepath!r} cannot be written in the background; save as {suffix}, or leave background=True out"
            )
        if isinstance(subject, Sharded) and subject.saves_sharded(suffix_of(path)):
            if self.content:
                raise SettingsError(f"{str(path)!r} is a directory, which cannot hold content=; save as {suffix}")
            if in_parts(self.filepath) and supports(subject, SavesParts):
                raise SettingsError(
                    f"{str(path)!r} is a directory, which holds all models; leave {{part}} out, or save as {suffix}"
                )
            if not isinstance(path, Path):
                raise SettingsError(
                    f"{str(path)!r}: all ranks write a sharded model, to a directory that they share; give a path"
                )
            if holds_parts(path):
                return
        if self.save_last == LINK and not isinstance(path, Path):
            raise SettingsError(f"{str(path)!r}: a store has no links for save_last='link'; write save_last=True")
        if isinstance(path, Path):
            for each in templates_in(str(path), subject):
                check_local(each)
        else:
            backend_for(path)  # its package is needed; the store is asked when something is written

    def plugin(self) -> object:
        """Return a new plugin for one run."""
        frequency = Frequency.parse(self.save_freq)
        return Saver(self, frequency) if frequency.in_epochs else BatchSaver(self, frequency)
