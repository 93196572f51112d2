"""The plugins of ModelCheckpoint: one saves at the end of epochs, the other at the end of batches."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any, NotRequired

from typing_extensions import TypedDict

from trainbus import Decision, Run, decision, hookimpl
from trainbus.capabilities import Saveable, SnapshotsMore, has
from trainbus.checkpoints.names.filename_template import render, sibling_template
from trainbus.decision import NOTHING, Save, join
from trainbus.failures import LOG
from trainbus.metrics.names import resolve
from trainbus.metrics.scalars import is_missing
from trainbus.resume.checks.plugin_values import Flag, Number, Score, Step, Text, parsed
from trainbus.resume.owned_files import OwnedFiles
from trainbus.rules import Best, Kept
from trainbus.storage.backend import existing
from trainbus.storage.paths import Location, StartDirectory, location

from ..frequency import EVERY_EPOCH, Frequency
from .earlier_run import check_earlier
from .file_names import FileNames
from .fixed_names import LAST, LINK
from .part_field import in_parts, parts_of, with_part
from .selection import Selection
from .settings import CheckpointSettings

_SavedFile = tuple[Text, Number, Step, Score, Score]
"""Path, epoch, step, score and second score."""


class SavedSaver(TypedDict):
    """What a checkpoint stores of a saver."""

    best: tuple[Score, Number, Score]
    best_file: _SavedFile | None
    kept: list[_SavedFile]
    seen: list[Text]
    removed: NotRequired[list[_SavedFile]]
    last: NotRequired[Text]
    replaced: NotRequired[Text]
    signal: NotRequired[Text]
    waits: NotRequired[Flag]


class Saver:
    """Saves at the end of epochs.

    Args:
        settings: The options of the callback.
        frequency: The epochs with a save.
    """

    names: FileNames
    selection: Selection
    first: tuple[int, int]
    """Epoch and step with which the run began or resumed."""

    def __init__(self, settings: CheckpointSettings, frequency: Frequency = EVERY_EPOCH) -> None:
        self.settings, self.frequency = settings, frequency
        self.begun = False
        self.last = ""
        """The path of the file "last"; empty if the run has written none."""
        self.signal = ""
        """The path of the file that was written for a signal; empty if there was none."""
        self.older: tuple[int, str] = (-1, "")
        """The step at which it was written, and its path before that."""
        self.unfinished = False
        """Whether the run has resumed and has not yet looked for files that the last save was to remove."""
        self.waits = False
        """Whether a save was due in an epoch without a value of the metric, by which its model would be compared."""
        self.due = self.saved = False
        """Whether a save was due since the run began, and whether a model was saved under the template's name."""
        self.dropped: set[str] = set()
        """The paths in a checkpoint's state that are no files of this run."""
        self.absent: set[str] = set()
        """The kept paths of the checkpoint's own model that have no file when the run is resumed."""
        self.rewritten: set[str] = set()
        """Those that the resumed run writes again, since the decision that saved the checkpoint was not finished."""

    @hookimpl
    def on_train_begin(self, run: Run) -> None:
        """Prepare for the run."""
        settings, subject = self.settings, run.subject
        assert isinstance(subject, Saveable)
        more = subject.left_out_of_weights() if settings.save_weights_only and has(subject, SnapshotsMore) else ()
        if more:
            LOG.warning(
                "ModelCheckpoint: save_weights_only=True leaves out %s; save_weights_only=False saves it too",
                ", ".join(more),
            )
        fixed, suffix = settings.fixed_names(), settings.suffix_for(subject)
        template, parts = settings.template_for(subject), parts_of(subject) if in_parts(settings.filepath) else ()
        linked = sibling_template(template, fixed.pop(LAST), suffix) if settings.save_last == LINK else ""
        links = {part: render(with_part(linked, part), {}) for part in parts or [""] if linked}
        self.names = FileNames(template, suffix, fixed, parts)
        self.names.check_history(run)
        if run.rank == 0:
            check_earlier(settings, run.callbacks.values(), subject, run.state.resume, resumed=run.resumed is not None)
        monitor = run.monitor(settings.monitor, settings.mode) if settings.monitors() else None
        tied = settings.tie_breaker
        second = run.monitor(tied, settings.tie_breaker_mode) if monitor is not None and tied else None
        self.selection = Selection(settings, monitor, second, links)
        self.first, self.rank, self.moment = (run.epoch, run.step), run.rank, run.state.moment
        self.owned = OwnedFiles.of([settings], subject)
        self.owned_by_run = OwnedFiles.of(run.callbacks.values(), subject)
        self.start = StartDirectory()  # a loop may change its working directory before the states are restored again
        self.begun = True

    @hookimpl
    def on_epoch_end(self, run: Run, epoch: int, metrics: Mapping[str, Any]) -> Decision | None:
        """Save if due, or if a save has waited for a value of the metric that it needs."""
        due, has_value = self.frequency.includes(epoch), self._has_value(metrics)
        if not (due or (self.waits and has_value)):
            return None
        self.waits = not has_value
        return self.save(run, metrics)

    def _has_value(self, metrics: Mapping[str, Any]) -> bool:
        """Return whether the model can be compared by the metric, if it must be."""
        monitor = self.selection.monitor
        name = None if monitor is None else resolve(monitor.metric, metrics)
        return monitor is None or (name is not None and not is_missing(metrics[name]))

    def save(self, run: Run, metrics: Mapping[str, Any], *, required: bool = True) -> Decision:
        """Return the decision about the current model.

        Args:
            run: The run.
            metrics: The metrics to name, compare and select the model by.
            required: Whether a monitored metric that no epoch has logged by its end is an error.
        """
        name = partial(self.names.fill, run, metrics)
        if not self.names.checked:  # an unknown field is an error now, not at the first best epoch
            name()
        self._drop_absent()
        unfinished = self._finish_removal()
        chosen = self.selection.choose(run, name, self.selection.scores_in(metrics, required=required))
        self.due, self.saved = True, self.saved or bool(chosen)
        chosen |= self.selection.forget_surplus() if unfinished else NOTHING
        return chosen | self.save_last(run, metrics)

    def save_last(self, run: Run, metrics: Mapping[str, Any]) -> Decision:
        """Return the decision to write the file "last", if ``save_last`` is set, and to delete its last one."""
        if LAST not in self.names.fixed:
            return NOTHING
        name, older = self.names.fill_fixed(LAST, run, metrics), self.last
        path = name.path
        left = self._still_there([self.older[1]]) if self.older[0] < 0 else []
        self.last, self.older = path, (run.step, older)
        stale = [each for each in (older, *left) if each not in ("", path)]
        forget = (decision.forget(each, f"{path} is newer", rule=decision.REQUEST) for each in stale)
        return join([self.selection.save_to(name), *forget])

    @hookimpl
    def on_decision(self, decision: Decision) -> None:
        """Note which files a resumed run writes again."""
        if self.absent:
            saves = [location(each.path) for each in decision if isinstance(each, Save)]
            places = set(map(self.start.identity, saves))
            self.rewritten |= {path for path in self.absent if self.start.identity(location(path)) in places}

    def _drop_absent(self) -> None:
        """Stop keeping what has no file: that of a run which was resumed into another directory, for example."""
        gone = self.absent - self.rewritten
        if gone:
            selection = self.selection
            selection.kept = tuple(each for each in selection.kept if each.path not in gone)
            if selection.best_file is not None and selection.best_file.path in gone:
                selection.best_file = None
        self.absent = set()

    def _finish_removal(self) -> bool:
        """Keep again what the interrupted run was to remove and has not; return whether there is something.

        A resumed run removes it at once if its options are the same. Else its next save applies the present ones.
        """
        if not self.unfinished:
            return False
        self.unfinished, removed = False, self.selection.removed
        left = self._still_there(each.path for each in removed)
        self.selection.keep_again(each for each in removed if each.path in left)
        return bool(left)

    def _still_there(self, paths: Iterable[str]) -> list[str]:
        """Return those of these paths at which there is a file that the run may remove."""
        places = {path: self.start.fixed(location(path)) for path in paths if path}
        present = set(existing(places.values()))
        return [path for path, at in places.items() if at in present and not self.owned.flaw_of_deleting(at)]

    @hookimpl
    def on_checkpoint_error(self, run: Run, path: Location, step: int) -> None:
        """Undo the selection of a model that could not be written."""
        self.selection.undo(run, path, step, location(self.last or self.settings.filepath))
        if self.last and path == location(self.last) and step == self.older[0]:
            self.last = self.older[1]

    @hookimpl
    def on_exception(self, run: Run, error: BaseException) -> Decision | None:
        """Save the model to the file "exception" if asked for; after a second Ctrl-C, nothing delays the end."""
        if not self.begun or (run.state.requested and run.error is error):
            return None
        return self._save_fixed(run, "exception", f"{type(error).__name__} ended the training")

    @hookimpl
    def on_train_end(self, run: Run) -> Decision | None:
        """Save the final model if ``save_on`` asks for it; remove the file "signal" if the run has resumed from it."""
        if not self.begun:
            return None
        self._report_nothing_saved(run)
        error, result, why = run.error, NOTHING, "the run has resumed from it"
        if run.resumed is not None and error is None:
            result = join(decision.forget(each, why, rule=decision.REQUEST) for each in self._signal_files(run))
            self._drop_absent()
            result |= self.selection.forget_surplus() if self._finish_removal() else NOTHING
        if run.state.interrupted:
            return result | self._save_fixed(run, "signal", f"{run.state.requested} ended the training")
        return result if error is not None else result | self._save_fixed(run, "end", "the training is over")

    def _signal_files(self, run: Run) -> list[str]:
        """Return the files of the run that were written for a signal; also one of the usual name without a state."""
        usual = self.names.usual_signal
        return [path for path in dict.fromkeys([self.signal or usual, usual]) if location(path) in run.state.files]

    def _report_nothing_saved(self, run: Run) -> None:
        """Log that a run that has trained to its end, from the beginning, has written no file of the template.

        If none could ever be due, the run has reported it before the training.
        """
        state = run.state
        over = state.epochs_finished and run.error is None and not state.interrupted and run.resumed is None
        if self.saved or not over or run.rank or (not self.due and self.settings in state.idle):
            return
        why = self.selection.why_none() if self.due else ""
        why = why or f"save_freq={self.settings.save_freq!r} was never due"
        LOG.warning("ModelCheckpoint: filepath=%r was never written: %s", self.settings.filepath, why)

    def _save_fixed(self, run: Run, stem: str, reason: str) -> Decision:
        """Return the decision to write one of the files of ``save_on``, if it is wanted."""
        if stem not in self.names.fixed or (run.state.stays_over and not run.state.end_is_missing):
            return NOTHING
        name = self.names.fill_fixed(stem, run, run.metrics)
        self.signal = name.path if stem == "signal" else self.signal
        return self.selection.save_to(name, reason=reason, content_optional=self.settings.content is not None)

    def state_dict(self) -> dict[str, Any]:
        """Return the best score and its file, the kept files, and the metrics of the template that were logged."""
        selection = self.selection
        best_file = None if selection.best_file is None else self._relative(selection.best_file)
        return {
            "best": list(selection.best),
            "best_file": best_file,
            "kept": [self._relative(each) for each in selection.kept],
            "seen": sorted(self.names.seen),
            **({"removed": [self._relative(each) for each in selection.removed]} if selection.removed else {}),
            **({"waits": True} if self.waits else {}),
            **{key: path.removeprefix(self.names.directory) for key, path in self._written() if path},
        }

    def check_state_dict(self, saved: object) -> None:
        """Refuse what ``state_dict`` does not return."""
        parsed(SavedSaver, saved)

    def load_state_dict(self, saved: Mapping[str, Any]) -> None:
        """Continue from what ``state_dict`` returned, without the files that were removed since."""
        selection, best_file = self.selection, saved["best_file"]
        selection.best, self.names.seen = Best(*saved["best"]), set(saved["seen"])
        self.waits, self.unfinished = saved.get("waits", False), True
        selection.removed = tuple(map(self._absolute, saved.get("removed", [])))
        self.last, replaced, self.signal = (self._own_path(saved.get(key, "")) for key, _ in self._written())
        self.older = -1, replaced
        kept = [each for each in map(self._absolute, saved["kept"]) if self._own(each)]
        best = [] if best_file is None else [self._absolute(best_file)]
        best = [each for each in best if self._own(each)]
        places = {each.path: self.start.fixed(location(each.path)) for each in (*kept, *best)}
        present = set(existing(places.values()))
        absent = [path for path, place in places.items() if place not in present]
        first = {each.path for each in (*kept, *best) if (each.epoch, each.step) == self.first}
        self.absent = first.intersection(absent)  # the run may be about to write it
        gone = [each for each in absent if each not in first]
        selection.kept = tuple(each for each in kept if each.path not in gone)
        selection.best_file = next((each for each in best if each.path not in gone), None)
        self._report_gone(gone, lost_best=bool(best) and selection.best_file is None)

    def _report_gone(self, paths: list[str], *, lost_best: bool) -> None:
        """Report kept files that were removed since, except those of a directory that the run reports as a whole."""
        paths = [each for each in paths if not any(self.owned_by_run.gone([self.start.fixed(location(each))]))]
        if not paths or self.rank:
            return
        monitor, best = self.selection.monitor, self.selection.best
        are = f"{paths[0]!r} is" if len(paths) == 1 else f"{paths[0]!r} and {len(paths) - 1} more are"
        what = "keep and keep_last count the files that are left"
        if lost_best and monitor is not None:
            value = f"{monitor.metric} is better than {monitor.sign * best.score:.5g} ({self.moment(best.epoch)})"
            what = f"the best model is lost, and the next one is saved when {value}"
        LOG.warning("ModelCheckpoint: %s gone since the run was saved: %s", are, what)

    def _relative(self, kept: Kept) -> list[Any]:
        return [*kept._replace(path=kept.path.removeprefix(self.names.directory))]

    def _absolute(self, saved: list[Any]) -> Kept:
        kept = Kept(*saved)
        return kept._replace(path=self.names.directory + kept.path)

    def _written(self) -> tuple[tuple[str, str], ...]:
        named = self.signal if self.signal != self.names.usual_signal else ""  # the usual name is found without a state
        replaced = self.older[1] if self.older[1] != self.last else ""
        return ("last", self.last), ("replaced", replaced), ("signal", named)

    def _own_path(self, name: str) -> str:
        """Return the path of a file that the checkpoint's run has written; empty if it is not this run's."""
        path = self.names.directory + name
        if not name or self.owned.flaw_of_deleting(self.start.fixed(location(path))):
            return ""
        return path

    def _own(self, kept: Kept) -> bool:
        """Return whether a file is one of this run; report another one, since retention would delete it."""
        path = self.start.fixed(location(kept.path))
        is_next = (kept.epoch, kept.step) == self.first  # the run writes it again
        flaw = self.owned.flaw_of_saving(path) if is_next else self.owned.flaw_of_deleting(path)
        flaw = flaw or self.owned.flaw_of_files_beside(path)
        if flaw and kept.path not in self.dropped:
            self.dropped.add(kept.path)
            LOG.warning("ModelCheckpoint: %r is not kept or deleted: %s", kept.path, flaw)
        return not flaw
