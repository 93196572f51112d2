"""Whether any look of a callback was due, which a run says at its end if none was."""

from __future__ import annotations

from typing import Any

from trainbus import Decision, Run, hookimpl
from trainbus.failures import LOG

from .settings import ComparisonSettings


class DueLooks:
    """Reports at the end of a run that its callback has never looked at the metric; calls the looker's hook, too.

    Args:
        settings: The options of the callback.
        looker: The plugin that looks.
    """

    def __init__(self, settings: ComparisonSettings, looker: Any) -> None:
        self.settings, self.looker = settings, looker
        self.any = False
        """Whether a look was due in this process."""
        self.reported = False
        """Whether the run has said already that there was nothing to count."""

    @hookimpl
    def on_train_end(self, run: Run) -> Decision | None:
        """Report that no look was due; a resumed run does not know the looks before it."""
        self._report(run)
        end = getattr(self.looker, "on_train_end", None)
        return None if end is None else end(run)

    def _report(self, run: Run) -> None:
        """Log one line, unless the run has said before the training that it never looks."""
        settings, state, start = self.settings, run.state, self.looker.first_epoch
        over = state.epochs_finished and run.error is None and not state.interrupted and run.resumed is None
        if self.any or self.reported or not over or run.rank or settings in state.idle:
            return
        since = f" after start_from_epoch={start}" if start else ""
        LOG.warning(
            "%s: it has never looked at the metric: every=%r was never due%s",
            type(settings).__name__,
            settings.every,
            since,
        )
