"""Stop the training when a metric is NaN or infinite."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, BeforeValidator, StringConstraints

from trainbus import Callback, Decision, MissingMetric, Run, SettingsError, TrainbusError, decision, hookimpl
from trainbus.callback import PathText
from trainbus.capabilities import Saveable, supports
from trainbus.checkpoints.names.filename_template import sibling_path, with_suffix
from trainbus.failures import LOG
from trainbus.metrics.finiteness import DeviceFlags, finiteness
from trainbus.metrics.names import hint_with_list, resolve
from trainbus.settings.run_id import RunStart
from trainbus.storage.paths import absolute, absolute_entry

from ..epoch_fields import epoch_fields
from .inspection_file import check_name, check_place, filled, in_the_way, may_match

BATCHES_LATER = 2
"""Batches after which the flags of a batch are read from a device at the latest."""
RULE = "not_finite"


def _as_tuple(value: object) -> object:
    return (value,) if isinstance(value, str) else value


_Name = Annotated[str, StringConstraints(min_length=1)]


class TerminateOnNaN(Callback):
    """Stop the training as soon as a metric is NaN or infinite, and save no state of that kind.

    From then on, no file is written and none is deleted, so the files from before stay.

    >>> TerminateOnNaN(monitor="loss").monitor
    ('loss',)
    """

    every: Literal["batch", "epoch"] = "batch"
    """When it looks: at the end of each batch, validation and epoch, or only of each validation and epoch."""
    monitor: Annotated[tuple[_Name, ...] | None, BeforeValidator(_as_tuple)] = None
    """The name of a metric, or several; None for every metric that is a single number."""
    save: Annotated[PathText, AfterValidator(check_name)] | None = None
    """Path of a file that gets the state with the NaN, for inspection; without a suffix it gets the framework's own.
    A resume by "auto" or from the directory never continues from it; one that names its path does. {run} in its
    directory, as in "dumps/{run}/nan", is the id of the run (`Run(run_id=...)`); {epoch}, {epoch0}, {batch} and {step}
    count as in the `filepath` of ModelCheckpoint, at the moment of the save."""
    elsewhere: ClassVar[Mapping[str, str]] = {
        "check_finite": 'monitor, as in monitor="val_loss"',
        "output_transform": 'monitor, as in monitor="loss"',
        "raise_error": "nothing: the run stops, and run.result.reason says why",
    }

    def for_run(self, start: RunStart) -> TerminateOnNaN:
        """Return the callback of one run, with the run's id in its path.

        Args:
            start: How the run starts.

        Raises:
            SettingsError: The path needs an id, which was not given.
        """
        path = self.save and start.fill("TerminateOnNaN: save", self.save, template=True)
        return self.with_option("save", path)

    def epoch_options(self) -> Mapping[str, str]:
        """Return ``save`` if the path has an epoch."""
        return epoch_fields({"save": self.save} if self.save else {})

    def requires(self) -> tuple[type, ...]:
        """Require a subject that can be saved if the state is to be kept."""
        return (Saveable,) if self.save else ()

    def validate_for(self, subject: object) -> Iterator[TrainbusError]:
        """Also yield a path at which no file can be written."""
        yield from super().validate_for(subject)
        if self.save and supports(subject, Saveable):
            try:
                check_place(self.save, subject)
            except SettingsError as error:
                yield SettingsError(f"TerminateOnNaN: save={error}")

    def exclusive_paths(self, subject: object = None) -> tuple[str, ...]:
        """Return the path of the file."""
        return (absolute_entry(self.save),) if self.save else ()

    def locked_directories(self) -> tuple[str, ...]:
        """Return the directory of the file."""
        return (absolute(sibling_path(self.save, "", "")),) if self.save else ()

    def path_settings(self) -> tuple[str, ...]:
        """Return "save"."""
        return ("save",)

    def effective_settings(self, subject: object = None) -> dict[str, Any]:
        """Return the settings with an absolute path."""
        return {**super().effective_settings(subject), **({"save": absolute_entry(self.save)} if self.save else {})}

    def plugin(self) -> object:
        """Return a new plugin for one run."""
        guard = _EpochGuard(self)
        return _BatchGuard(guard) if self.every == "batch" else guard


class _EpochGuard:
    """Looks at the metrics of each validation and epoch, and before each save."""

    critical = False
    every_rank = True

    def __init__(self, settings: TerminateOnNaN) -> None:
        self.settings = settings
        self.names = settings.monitor
        self.stopped = self.refused = self.checked = False
        self.path = ""
        self.listed: object = self
        """The plugin that the run knows."""

    @hookimpl
    def on_train_begin(self, run: Run) -> None:
        self.run = run
        if self.settings.save:
            assert isinstance(run.subject, Saveable)
            self.path = with_suffix(self.settings.save, run.subject.suffixes(weights_only=False))
            self._check_path(run)
            self._report_replaced(run)

    @hookimpl
    def on_validation_end(self, metrics: Mapping[str, Any]) -> Decision | None:
        return self.look(metrics, f"the validation of {self.run.state.plan.interval(self.run.epoch)}")

    @hookimpl
    def on_epoch_end(self, epoch: int, metrics: Mapping[str, Any]) -> Decision | None:
        if not self.checked:
            self.checked = True
            self._report_missing(metrics)
        return self.look(metrics, self.run.state.plan.interval(epoch))

    def look(self, metrics: Mapping[str, Any], where: str) -> Decision | None:
        """Return the decision to stop if one of these metrics is not finite; may wait for a device."""
        if self.stopped:
            return None
        bad, pending = finiteness(metrics, self.names)
        return self.stop([*bad, *_names_in(pending)], metrics, where)

    def stop(self, bad: Iterable[str], metrics: Mapping[str, Any], where: str) -> Decision | None:
        """Return the decision to stop because of these metrics; None if there are none."""
        values = {name: _shown(metrics, name) for name in sorted(bad)}
        if not values or self.stopped:
            return None
        self.stopped = True
        reason = f"{', '.join(f'{name} is {value}' for name, value in values.items())} in {where}"
        result = decision.stop(reason, rule=RULE, values=values)
        if self.path:
            result |= decision.save(
                filled(self.path, self.run),
                on_error="warn",
                for_inspection=True,
                reason=reason,
                rule=RULE,
                values=values,
            )
        return result

    def refuse_save(self) -> Decision | None:
        """Refuse to save a state with NaN; the metrics of the present batch are read first."""
        found = None if self.stopped else self.look(self.latest(), self.place())
        return self.refusal(found)

    def latest(self) -> Mapping[str, Any]:
        """Return the means of the present epoch, as an adapter has reported them last or as they were logged."""
        state = self.run.state
        return state.means if state.reported is None else state.reported

    def refusal(self, found: Decision | None) -> Decision | None:
        """Return the decision in place of a save, and report once that nothing is saved."""
        if not self.stopped:
            return None
        if not self.refused and self.run.rank == 0:
            self.refused = True
            LOG.warning("TerminateOnNaN: the state is not saved, and the files from before stay")
        return found or decision.NOTHING

    def place(self) -> str:
        """Return the present batch in words; without a look at each batch, only the epoch is known."""
        epoch = self.run.epoch
        return self.run.state.plan.interval(epoch) if self.listed is self else self.name(epoch, self.run.batch)

    def name(self, epoch: int, batch: int) -> str:
        """Return a batch in words."""
        return f"batch {batch + 1} of {self.run.state.plan.interval(epoch)}"

    def _check_path(self, run: Run) -> None:
        """Refuse a path at which a resume would find the file."""
        for name, callback in run.callbacks.items():
            if may_match(self.path, callback.checkpoint_patterns(run.subject)):
                raise SettingsError(
                    f"TerminateOnNaN: save={self.settings.save!r}: resume='auto' would continue from this file, since "
                    f"{name} may write one of this name; give another directory"
                )

    def _report_replaced(self, run: Run) -> None:
        """Report before the training what the file would replace."""
        if run.rank == 0 and (found := in_the_way(self.path)):
            LOG.warning(
                "TerminateOnNaN: save=%r may replace %s; to keep it, move it, or give another path",
                self.settings.save,
                found,
            )

    def _report_missing(self, metrics: Mapping[str, Any]) -> None:
        """Report each name of ``monitor`` that the first epoch has not logged."""
        for name in self.names or ():
            if resolve(name, metrics) is None:
                error = MissingMetric(f"{name!r} is not logged{hint_with_list(name, list(metrics), 'metrics')}")
                self.run.report_failure(self.listed, f"monitor={name!r} has no effect", error)


class _BatchGuard:
    """Looks at each batch as well; flags on a device are read later, so that no batch waits for it."""

    critical = False
    every_rank = True

    def __init__(self, guard: _EpochGuard) -> None:
        self.guard, guard.listed = guard, self
        self.names = guard.names
        self.on_train_begin, self.on_validation_end = guard.on_train_begin, guard.on_validation_end
        self.waiting: deque[tuple[int, int, list[DeviceFlags]]] = deque()

    @hookimpl
    def on_batch_end(self, epoch: int, batch: int, metrics: Mapping[str, Any]) -> Decision | None:
        bad, pending = finiteness(metrics, self.names)
        if bad:
            return self.guard.stop(bad, metrics, self.guard.name(epoch, batch))
        if pending:
            self.waiting.append((epoch, batch, pending))
            if len(self.waiting) > BATCHES_LATER:
                return self.read(metrics, leave=BATCHES_LATER)
        return None

    @hookimpl
    def on_epoch_end(self, epoch: int, metrics: Mapping[str, Any]) -> Decision | None:
        return self.read(metrics) or self.guard.on_epoch_end(epoch, metrics)

    def read(self, metrics: Mapping[str, Any], leave: int = 0) -> Decision | None:
        """Read the flags of all but the last batches; may wait for the device."""
        run = self.guard.run
        while len(self.waiting) > leave:
            epoch, batch, pending = self.waiting.popleft()
            bad = _names_in(pending)
            if bad:
                self.waiting.clear()
                where = self.guard.name(epoch, batch)
                late = f" (found at batch {run.batch + 1})" if run.batch > batch else ""
                return self.guard.stop(bad, metrics, where + late)
        return None

    def refuse_save(self) -> Decision | None:
        """Refuse to save a state with NaN; all flags are read first."""
        found = self.read(self.guard.latest())
        return self.guard.refusal(found) if found is not None else self.guard.refuse_save()


def _names_in(pending: Iterable[DeviceFlags]) -> list[str]:
    return [name for flags in pending for name in flags.read()]


def _shown(metrics: Mapping[str, Any], name: str) -> str:
    """Return the value of a metric that is not finite as text."""
    return str(metrics.get(name, "nan"))
