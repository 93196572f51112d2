"""The names of the checkpoint files of one run."""

from __future__ import annotations

from collections.abc import Mapping
from math import nan
from typing import Any

from trainbus import Run
from trainbus.checkpoints.names.filename_template import render, sibling_path, template_fields
from trainbus.failures import LOG
from trainbus.metrics.names import is_validated, resolve
from trainbus.metrics.scalars import is_missing


class FileNames:
    """Fills the template of ``ModelCheckpoint``.

    Args:
        template: The template, with its suffix.
        suffix: That suffix, which the fixed names get, too.
    """

    def __init__(self, template: str, suffix: str) -> None:
        self.template, self.suffix = template, suffix
        self.directory = sibling_path(template, "", "")
        self.metrics = [name for name in template_fields(template) if name not in ("epoch", "batch", "step")]
        self.seen: set[str] = set()
        """The metrics of the template that were logged at least once."""
        self.checked = False
        """Whether the template was filled with all of its metrics, so that all fields are valid."""
        self.reported = False
        """Whether a value that does not fit its format was reported."""

    def fixed(self, stem: str) -> str:
        """Return the path of a file with a fixed name."""
        return sibling_path(self.template, stem, self.suffix)

    def fill(self, run: Run, metrics: Mapping[str, Any], **counters: int) -> str:
        """Return the path for the present epoch and step.

        A metric becomes NaN if only an earlier epoch has logged it, if it was logged as None, or if it is a ``val_``
        metric and the epoch had no validation. A value that does not fit the format of its field is reported once, and
        the path has it without a format: a model that was trained must be saved.

        Raises:
            MissingMetric: A field names a metric that was never logged.
        """
        values = {**metrics, "epoch": run.epoch + 1, "step": run.step, **counters}
        for name in self.metrics:
            logged = resolve(name, values)
            if logged is not None and not is_missing(values[logged]):
                self.seen.add(name)
            elif logged or name in self.seen or (is_validated(name) and not run.state.validates(run.epoch)):
                values[logged or name] = nan
        path = render(self.template, values, self._report)
        self.checked = self.seen.issuperset(self.metrics)
        return path

    def check_history(self, run: Run) -> None:
        """Report values of earlier epochs that do not fit their formats, before a resumed run trains."""
        for _, metrics in run.state.epoch_metrics if self.metrics else ():
            known = {name: metrics.get(logged) for name in self.metrics if (logged := resolve(name, metrics))}
            if len(known) == len(self.metrics) and not any(map(is_missing, known.values())):
                render(self.template, {**known, "epoch": 1, "batch": 1, "step": 1}, self._report)

    def _report(self, problem: str) -> None:
        if not self.reported:
            self.reported = True
            LOG.warning(
                "ModelCheckpoint: filepath=%s; until then, the name of the file has it without a format", problem
            )
