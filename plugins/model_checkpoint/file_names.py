"""The names of the checkpoint files of one run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import nan
from pathlib import Path
from typing import Any, NamedTuple

from trainbus import MissingMetric, Run, SettingsError
from trainbus.checkpoints.names.filename_template import (
    COUNTERS,
    LONGEST,
    fixed_name,
    render,
    sibling_path,
    sibling_template,
    template_fields,
)
from trainbus.failures import LOG
from trainbus.metrics.names import is_validated, resolve
from trainbus.metrics.scalars import is_missing
from trainbus.storage.file_kind import kind_of
from trainbus.storage.paths import location

from .fixed_names import names_of
from .part_field import FIELD, with_part


class SavedName(NamedTuple):
    """The path of a save; of a save of several files, that of the first one."""

    path: str
    parts: Mapping[str, str] = {}
    """Name of each model to the name of its file, if each of several has one."""


class FileNames:
    """Fills the template of ``ModelCheckpoint``.

    Args:
        template: The template, with its suffix.
        suffix: That suffix, which the files beside it get, too.
        fixed: The names of these files, by "last", "end", "exception" and "signal".
        parts: The names of the models, if each of several has a file.
    """

    def __init__(self, template: str, suffix: str, fixed: Mapping[str, str], parts: Sequence[str] = ()) -> None:
        self.template, self._parts = template, parts
        self.directory = sibling_path(template, "", "")
        self.fixed = {key: sibling_template(template, name, suffix) for key, name in fixed.items()}
        """The templates of these files."""
        usual = names_of(False, ("signal",), parts=bool(parts))["signal"]  # noqa: FBT003
        self.usual_signal = sibling_path(template, usual.replace(FIELD, parts[0]) if parts else usual, suffix)
        """The path of the file "signal" if it has no name of its own."""
        fields = (name for each in (template, *self.fixed.values()) for name in template_fields(each))
        self.metrics = [name for name in dict.fromkeys(fields) if name not in (*COUNTERS, "part")]
        self.seen: set[str] = set()
        """The metrics of the templates that were logged at least once."""
        self.checked = False
        """Whether the templates were filled with all of its metrics, so that all fields are valid."""
        self.reported = False
        """Whether a value that does not fit its format was reported."""

    def fill(self, run: Run, metrics: Mapping[str, Any]) -> SavedName:
        """Return the name for the present epoch, batch and step; at the end of an epoch, the batch is its last.

        A metric becomes NaN if only an earlier epoch has logged it, if it was logged as None, or if it is a ``val_``
        metric and the epoch had no validation. A value that does not fit the format of its field is reported once, and
        the path has it without a format: a model that was trained must be saved.

        Raises:
            MissingMetric: A field names a metric that was never logged.
        """
        values = self._values(run, metrics)
        name = self._filled(self.template, values)
        if not self.checked:  # an unknown field is an error now, not when the file is written
            for each in filter(template_fields, self.fixed.values()):
                self._filled(each, values)
        self.checked = self.seen.issuperset(self.metrics)
        return name

    def fill_fixed(self, key: str, run: Run, metrics: Mapping[str, Any]) -> SavedName:
        """Return the name of one of the files beside the others; a metric without a value becomes NaN."""
        values = self._values(run, metrics)
        unknown = {name: nan for name in self.metrics if resolve(name, values) is None}
        return self._filled(self.fixed[key], {**values, **unknown})

    def _filled(self, template: str, values: Mapping[str, Any]) -> SavedName:
        try:
            return self._rendered(template, values)
        except MissingMetric as error:
            raise MissingMetric(f"ModelCheckpoint: {error}") from None

    def _rendered(self, template: str, values: Mapping[str, Any]) -> SavedName:
        if not self._parts:
            return SavedName(render(template, values, self._report))
        paths = {part: render(with_part(template, part), values, self._report) for part in self._parts}
        return SavedName(paths[self._parts[0]], {part: location(path).name for part, path in paths.items()})

    def _values(self, run: Run, metrics: Mapping[str, Any]) -> dict[str, Any]:
        # of a batch, what was logged without a value is not among the metrics
        without: dict[str, Any] = {**run.state.means.without_value}
        counters = {"epoch": run.epoch + 1, "epoch0": run.epoch, "batch": run.batch + 1, "step": run.step}
        values = {**without, **metrics, **counters}
        for name in self.metrics:
            logged = resolve(name, values)
            if logged is not None and not is_missing(values[logged]):
                self.seen.add(name)
            elif logged or name in self.seen or (is_validated(name) and not run.state.validates(run.epoch)):
                values[logged or name] = nan
        return values

    def check_history(self, run: Run) -> None:
        """Report values of earlier epochs that do not fit their formats, before a resumed run trains."""
        for _, metrics in run.state.epoch_metrics if self.metrics else ():
            known = {name: metrics.get(logged) for name in self.metrics if (logged := resolve(name, metrics))}
            if len(known) == len(self.metrics) and not any(map(is_missing, known.values())):
                for each in (self.template, *self.fixed.values()):
                    self._filled(each, {**known, **dict.fromkeys(COUNTERS, 1)})

    def _report(self, problem: str) -> None:
        if not self.reported:
            self.reported = True
            LOG.warning(
                "ModelCheckpoint: filepath=%s; until then, the name of the file has it without a format", problem
            )


def check_local(template: str) -> None:
    """Raise ``SettingsError`` if no file can be written at the paths on this machine's disk that a template makes."""
    name, path = fixed_name(template), Path(template if template_fields(template) else render(template, {}))
    size = len(name.encode())
    if size > LONGEST:  # names with fields are shortened
        raise SettingsError(
            f"{name[:20] + '...'!r} is a name of {size} bytes; use at most {LONGEST}, since the file's manifest "
            "has a longer name, and file systems allow 255 bytes"
        )
    try:
        kind = kind_of(path) if name else ""
    except OSError as error:
        raise SettingsError(f"{_shown(path)!r} cannot be used: {error.strerror or error}") from None
    if kind == "directory":
        raise SettingsError(f"{str(path)!r} is a directory; name a file, as {str(path / 'best')!r}")
    if kind in ("FIFO", "socket", "device"):
        raise SettingsError(f"{str(path)!r} is a {kind}, which a checkpoint would replace; name a regular file")


def _shown(path: Path) -> str:
    text = str(path)
    return text if len(text) <= LONGEST else f"{text[:20]}...{text[-20:]}"
