"""Save the model, or only the best one, while it trains."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, PositiveInt, ValidationInfo, field_validator

from trainbus import MissingDependency, MonitoredCallback, SettingsError, TrainbusError
from trainbus.callback import PathText
from trainbus.capabilities import BackgroundSaveable, Saveable, Sharded, missing, saves_in_background
from trainbus.checkpoints.filename_template import (
    check_template,
    glob_pattern,
    sibling_path,
    suffix_in,
    template_fields,
    truncated_glob,
    with_suffix,
)
from trainbus.storage.atomic_file import suffix_of
from trainbus.storage.backend import backend_for
from trainbus.storage.paths import location
from trainbus.storage.sharded_directory import holds_parts

from .saver import BatchSaver, EpochSaver
from .schedule import Frequency, check_frequency

__all__ = ["ModelCheckpoint"]


def _one_as_several(value: object) -> object:
    return (value,) if isinstance(value, str) else value  # ("end") is no tuple, and means one all the same


def _reachable(path: str) -> str:
    location(path)  # refuses URLs that are none
    return path


class ModelCheckpoint(MonitoredCallback):
    """Save the model at the end of every epoch, or every so often, and keep all of the files, the best or the last.

    A file is staged beside its path, synced and renamed: the path always holds a complete checkpoint, and files that
    are not kept are removed only once the new one is there. A metric that is missing or not finite never makes a
    model one of the best.

    `keep` and `keep_last` join: a file stays as long as it is one of the best or one of the last. `save_best_only`
    comes before them: a model that is no new best is then not offered at all, so `keep=3` keeps the last three that
    were the best of their time, where `keep=3` alone keeps the best three of all.

    >>> ModelCheckpoint("best.keras", save_best_only=True).filepath
    'best.keras'
    >>> ModelCheckpoint("m-{epoch}", keep=3, keep_last=2, save_freq="500 steps").keep
    3
    >>> ModelCheckpoint("m", keep=3)
    Traceback (most recent call last):
        ...
    trainbus.errors.SettingsError: ModelCheckpoint: keep=3: filepath='m' gives every checkpoint the same name; put ...
    >>> ModelCheckpoint("m-{val_loss.real}.pt")
    Traceback (most recent call last):
        ...
    trainbus.errors.SettingsError: ModelCheckpoint: filepath='m-{val_loss.real}.pt': {val_loss.real}: a field is ...
    """

    filepath: Annotated[PathText, AfterValidator(_reachable), AfterValidator(check_template)] = Field(kw_only=False)
    """Path or URL of the file. Without a suffix it gets the framework's own. Fields in braces are filled in: {epoch}
    and {batch}, counted from 1, {step}, the weight updates made, and every metric, as in
    "m-{epoch:02d}-{val_loss:.4f}". What is filled in cannot leave the directory that is written here."""
    save_best_only: bool = False
    """Whether only a model whose monitored metric beats all before it is saved."""
    save_weights_only: bool = False
    """Whether the weights are saved without the optimizer."""
    save_freq: Annotated[int | str, BeforeValidator(check_frequency)] = "epoch"
    """ "epoch", or the number of batches between two saves, counted across epochs; or in words: "2 epochs", where the
    number of the epoch is a multiple; "500 steps", at the end of the batch in which the weight updates reach a
    multiple; "10 minutes", at the end of the first batch that late after the save before."""
    initial_value_threshold: float | None = None
    """Best value to begin with, for `save_best_only`: only a better one saves."""
    keep: PositiveInt | None = None
    """Number of files to keep that are the best by the monitored metric; of equal ones the earlier. A model that is
    not among them is not saved at all."""
    keep_last: PositiveInt | None = None
    """Number of files to keep that are the last, however good."""
    save_last: bool = False
    """Whether each save, also one that `save_best_only` or `keep` leaves out, goes to the file "last" as well, in
    the directory of `filepath` and with its suffix."""
    save_on: Annotated[
        tuple[Literal["end", "exception", "signal"], ...],
        BeforeValidator(_one_as_several),
        Field(validate_default=True),
    ] = ("signal",)
    """Also save when the training is over, to the file "end"; when an exception ended it, to the file "exception"; when
    a signal, such as Ctrl-C, or a stop file did, to the file "signal". They lie beside "last": files of their own, so
    that a spoilt model replaces no good one. They hold the model as it is then, before other callbacks restore weights.
    The file "signal" goes when a run that was resumed from it is over."""

    on_error: Literal["raise", "warn"] = "raise"
    """What happens where a file cannot be written: the run ends, or says so and goes on; the file that was there stays
    whole either way, and the next model that is better than it is saved."""

    @field_validator("keep", "keep_last")
    @classmethod
    def _names_differ(cls, value: int | None, info: ValidationInfo) -> int | None:
        template: str | None = info.data.get("filepath")
        if value and template and value + (info.data.get("keep") or 0) > 1 and not template_fields(template):
            raise ValueError(
                f"filepath={template!r} gives every checkpoint the same name; put {{epoch}} or {{step}} into it"
            )
        return value

    @field_validator("save_last", "save_on")
    @classmethod
    def _names_are_free(cls, value: Any, info: ValidationInfo) -> Any:
        template: str | None = info.data.get("filepath")
        for stem in ("last",) if value is True else value or ():
            if template and sibling_path(template, stem, suffix_in(template)) == template:
                raise ValueError(f"this would write {template!r}, which is filepath itself; give filepath another name")
        return value

    background: bool | None = None
    """Whether the files are written while the training goes on: the training only waits for a copy of the state, and
    for the save before where that is still being written. None does so where the subject can. False waits for the
    disk."""

    def requires(self) -> tuple[type, ...]:
        """A subject that can be written to a file, in the background where that is asked for."""
        return (Saveable, BackgroundSaveable) if self.background else (Saveable,)

    def monitors(self) -> bool:
        """The metric matters only where the best are asked for."""
        return self.save_best_only or self.keep is not None

    def exclusive_paths(self) -> tuple[str, ...]:
        """The template, and the files of fixed names beside it, as absolute paths."""
        # several may save to the one file "signal", since all save the same
        stems = [stem for stem in self._stems() if stem != "signal"]
        fixed = [sibling_path(self.filepath, stem, suffix_in(self.filepath)) for stem in stems]
        return tuple(str(location(path).resolve()) for path in (self.filepath, *fixed))

    def _stems(self) -> Sequence[str]:
        return (*(["last"] if self.save_last else []), *dict.fromkeys(self.save_on))

    def locked_directories(self) -> tuple[str, ...]:
        """The directory of the files; where a field is part of it, the one above that."""
        fixed = location(self.filepath)
        while template_fields(str(fixed.parent)):
            fixed = fixed.parent
        return (str(fixed.parent.resolve()),)

    def checkpoint_patterns(self) -> tuple[str, ...]:
        """What the template and the fixed names beside it make, with any suffix where none is written."""
        suffix = suffix_in(self.filepath)
        fixed = [glob_pattern(sibling_path(self.filepath, stem, suffix)) for stem in self._stems()]
        made = [each if suffix else f"{each}.*" for each in (glob_pattern(self.filepath), *fixed)]
        short = truncated_glob(self.filepath)
        return (*made, f"{short}{suffix or '.*'}") if short else tuple(made)

    def validate_for(self, subject: object) -> Iterator[TrainbusError]:
        """Also: the subject cannot write a file of this suffix, or the path is a directory."""
        yield from super().validate_for(subject)
        if isinstance(subject, Saveable) and missing(subject, Saveable) is None:
            try:
                path = location(self.template_for(subject))
                if (
                    self.background
                    and missing(subject, BackgroundSaveable) is None
                    and not saves_in_background(subject, path.name)
                ):
                    raise SettingsError(
                        f"{self.filepath!r} cannot be written in the background; save as "
                        f"{subject.suffixes(weights_only=self.save_weights_only)[0]}, or leave background=True out"
                    )
                in_parts = isinstance(subject, Sharded) and subject.saves_sharded(suffix_of(path))
                if in_parts and not isinstance(path, Path):
                    raise SettingsError(
                        f"{str(path)!r}: all ranks write a sharded model, to a directory that they share; give a path"
                    )
                shards = in_parts and isinstance(path, Path) and holds_parts(path)
                if (
                    backend_for(path).is_local and backend_for(path).is_directory() and not shards
                ):  # one that is far is asked later
                    raise SettingsError(f"{str(path)!r} is a directory; name a file, as {str(path / 'best')!r}")
            except MissingDependency as error:
                yield error
            except SettingsError as error:
                yield SettingsError(f"ModelCheckpoint: filepath={error}")

    def plugin(self) -> object:
        """A new listener for one run."""
        frequency = Frequency.parse(self.save_freq)
        return EpochSaver(self, frequency) if frequency.unit == "epoch" else BatchSaver(self, frequency)

    def template_for(self, subject: Saveable) -> str:
        """The template with a suffix that the subject can write.

        Raises:
            SettingsError: it has another suffix.
        """
        only = self.save_weights_only
        suffixes, others = subject.suffixes(weights_only=only), subject.suffixes(weights_only=not only)
        try:
            return with_suffix(self.filepath, suffixes, type(subject).__name__)
        except SettingsError as error:
            if suffix_in(self.filepath) not in others:
                raise
            raise SettingsError(f"{error}, or, with save_weights_only={not only}, {suffix_in(self.filepath)}") from None
