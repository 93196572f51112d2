"""The plugin of TensorBoard: it writes the data of each epoch, and holds the parts with batch hooks."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainbus import CheckpointError, Decision, Run, SettingsError, hookimpl
from trainbus.capabilities import HasWeights
from trainbus.decision import REQUEST
from trainbus.metrics.names import is_validated, without_validation
from trainbus.metrics.scalars import to_scalars
from trainbus.resume.checks.plugin_values import parsed
from trainbus.resume.owned_files import OwnedFiles
from trainbus.storage.directory_lock import LockKind, lock_directories

from ..unused_batches import report_uncounted
from .batch_recorder import BatchRecorder, Throughput
from .decision_table import DecisionTable
from .layouts import LAYOUTS
from .model_graph import config_of, graph_of
from .projector import Projector
from .saved_charts import SAVED
from .settings import TensorBoardSettings
from .text_tables import environment_table, settings_table

if TYPE_CHECKING:
    from types import ModuleType

    from .hyperparameters import HyperparameterPage
    from .model_inspection import ModelInspector
    from .profiler import ProfilingRecorder
    from .writer.event_writer import EventWriter, Note, Summary

LOCK = LockKind(".trainbus.tensorboard.lock", "charts")


class EpochRecorder:
    """Writes the event files of one run.

    Args:
        settings: The options of the callback.
    """

    critical = False
    # hooks of the parts, set only if those are needed, so that without them no plugin listens to batches
    on_batch_begin: Callable[..., None]
    on_batch_end: Callable[..., None]
    end_profiled_batch: Callable[..., None]

    log_dir: Path
    first_step: int
    """The first step that a resumed run writes."""
    writer: EventWriter
    inspector: ModelInspector
    summaries: ModuleType
    _note: Note

    def __init__(self, settings: TensorBoardSettings) -> None:
        self.settings = settings
        self.layout = LAYOUTS[settings.layout]
        self.decisions = DecisionTable()
        self.projector: Projector | None = None
        self.header_written = self.restored = False
        self.hyperparameters: HyperparameterPage | None = None
        self.trains = False
        self.truncate: Callable[[], object] = lambda: None  # drops what the interrupted run wrote after its checkpoint
        self.waiting: list[tuple[int, int, Decision]] = []  # of a resumed run that has not trained yet, and may be over
        self.at_end: dict[str, Any] | None = None  # the state before the run ended: what is written then is void later
        self.final: dict[str, float] = {}  # the last value of each metric
        self.step: int | None = None  # of the last complete epoch
        self.counts_step: int | None = None  # of the decisions whose counts are not written yet
        self.earlier_files: dict[str, int] = {}  # of this run before it was resumed, with their sizes
        self.throughput = Throughput()
        self.batches: BatchRecorder | None = None
        if settings.update_freq != "epoch":
            every = 1 if settings.update_freq == "batch" else settings.update_freq
            self.batches = BatchRecorder(self.layout, every, throughput=settings.write_steps_per_second)
            self.on_batch_end = self.batches.on_batch_end
        self.profiling: ProfilingRecorder | None = None
        if settings.profile is not None:
            from .profiler import ProfilingRecorder  # noqa: PLC0415 - PyTorch

            self.profiling = ProfilingRecorder(settings.profile)
            self.on_batch_begin = self.profiling.on_batch_begin
            self.end_profiled_batch = self.profiling.end_profiled_batch

    # --- events

    @hookimpl
    def on_train_begin(self, run: Run) -> None:
        """Lock the directory, and start the thread that writes."""
        # tensorboardX imports PyTorch, which takes seconds
        from .hyperparameters import HyperparameterPage  # noqa: PLC0415
        from .model_inspection import ModelInspector  # noqa: PLC0415
        from .writer import summaries  # noqa: PLC0415
        from .writer.event_writer import EventWriter  # noqa: PLC0415

        self.summaries = summaries
        settings = self.settings
        self.log_dir = Path(settings.log_dir).absolute()  # a loop may change its working directory
        try:
            run.at_end(lock_directories([self.log_dir], LOCK).close)
        except CheckpointError as error:
            raise SettingsError(f"TensorBoard: log_dir={settings.log_dir!r}: {error}") from None
        if settings.embeddings_freq:
            layers, metadata = settings.embeddings_layer_names, settings.embeddings_metadata
            self.projector = Projector(self.log_dir / self.layout.main, run.subject, layers, metadata)
        self.first_step = max(run.step, run.epoch) + 1
        self._note = partial(run.report_failure, self)
        self.writer = EventWriter(self.log_dir, secrets.token_hex(4), self._note)
        run.at_end(partial(self._close_safely, run))
        self.inspector = ModelInspector(run.subject, self._put, self._note, settings)
        if settings.hparams is not None:
            scalars = partial(self.writer.scalars, self.layout.main)
            self.hyperparameters = HyperparameterPage(settings.hparams, self._put, scalars)
        if self.batches is not None:
            self.batches.begin(self.writer)
        if self.profiling is not None:
            self.profiling.begin(self.log_dir / self.layout.main, self._note)

    @hookimpl
    def on_epoch_begin(self, run: Run) -> None:
        """Write the decisions of the epoch before, now that all are known; before the first epoch, write the header."""
        if run.state.plan.unit != "epoch":
            self.layout = self.layout.by_steps()
        self._begin_to_write()
        if self.counts_step == self.step:
            self._write_decision_counts()
        self.throughput.begin(run.step)
        self._write_header(run)
        self.inspector.begin_epoch(run.epoch)
        if self.batches is not None:
            self.batches.begin_epoch(run.step)

    @hookimpl
    def on_validation_end(self, run: Run, epoch: int, metrics: Mapping[str, Any]) -> None:
        """Write the validation over weight updates, if the layout does, as Keras does."""
        if self.layout.iterations is not None:
            name, step = self.layout.iterations, max(run.step, epoch)
            values = {name.format(without_validation(each)): value for each, value in to_scalars(metrics).items()}
            self.writer.scalars(self.layout.validation, step, values)

    @hookimpl
    def on_epoch_end(self, run: Run, epoch: int, metrics: Mapping[str, Any]) -> None:
        """Write the epoch's metrics, and weights and embeddings if due."""
        settings, layout = self.settings, self.layout
        if self.step is None and self.batches is not None:
            report_uncounted(run, self, f"update_freq={settings.update_freq!r} has not written", steps=True)
        self.step = self.counts_step = step = self._epoch_step(run)
        shown = to_scalars(metrics)
        self._write_custom_layout(shown, step)
        if settings.write_steps_per_second:
            shown.setdefault("steps_per_second", self.throughput.per_second(run.step))
        by_run: dict[str, dict[str, float]] = {name: {} for name in layout.runs}
        for name, value in shown.items():
            series = layout.of_epoch(name)
            by_run[series.run][series.tag] = value
        by_run[layout.main] |= {f"stats/{name}": value for name, value in run.state.stats.items()}
        if not layout.counts_epochs and run.state.plan.unit == "epoch":
            by_run[layout.main]["epoch"] = float(epoch)
        for name, values in by_run.items():
            self.writer.scalars(name, step, values)
        self.inspector.end_epoch(epoch, step)
        if self.projector is not None and epoch % settings.embeddings_freq == 0:
            self._write_embeddings(run.subject, self.projector, step)

    @hookimpl
    def on_decision(self, run: Run, decision: Decision) -> None:
        """Write the decision and its reasons, except for a signal: the charts of a resumed run do not show it."""
        decision = Decision(frozenset(each for each in decision if REQUEST not in (each.by, each.rule)))
        if not decision:
            return
        by_steps = run.state.plan.unit != "epoch"
        self.decisions.unit = "step" if by_steps else "epoch"
        now = run.step if by_steps else run.epoch + 1, self._epoch_step(run), decision
        if self.at_end is not None and self.hyperparameters is not None:
            self.hyperparameters.note_restored(run, decision)
        if self.trains or not self.restored:
            self._write_decision(*now)
        else:
            self.waiting.append(now)

    @hookimpl
    def on_train_end(self, run: Run) -> None:
        """Write the final weights; decisions may still follow."""
        if self.profiling is not None:
            self.profiling.close()
        if run.state.end_is_missing:
            self._begin_to_write()
        if self.step is None or (self.restored and not self.trains):
            return
        self.at_end = self.state_dict()
        # after an error the weights may not be readable; after an interruption by the user they are
        settings, failed = self.settings, isinstance(run.error, Exception)
        if settings.write_images and not settings.histogram_freq and not failed:
            self.inspector.show_weights(self.step, histograms=False)

    # --- state

    def state_dict(self) -> dict[str, Any]:
        """Return the size of each file after all events so far, and the state of the series."""
        if self.at_end is not None:
            return self.at_end
        self.writer.flush()  # so that no checkpoint is ahead of the event files
        files = {path.relative_to(self.log_dir).as_posix(): size for path, size in self.writer.sizes().items()}
        return {
            "line": self.writer.file_id,
            "files": {**self.earlier_files, **files},
            "introduced": self.header_written,
            "described": self.hyperparameters is not None and self.hyperparameters.declared,
            "final": self.final,
            "step": self.step,
            "counts_step": self.counts_step,
            "decisions": self.decisions.state_dict(),
        }

    def load_state_dict(self, saved: Mapping[str, Any]) -> None:
        """Continue from a state of ``state_dict``; later events of the earlier run are removed if this run trains."""
        if self.restored:  # a second call must not drop the decisions made since the first
            return
        self.restored = True
        parsed(SAVED, saved)
        self.step, self.counts_step = saved["step"], saved["counts_step"]
        self.decisions.load_state_dict(saved["decisions"])
        owned = OwnedFiles([self.log_dir])
        named = ((name, size) for name, size in saved["files"].items() if owned.holds(self.log_dir / name, follow=True))
        files = {name: size for name, size in named if (self.log_dir / name).exists()}
        if files:
            self.header_written = saved["introduced"]
            if self.hyperparameters is not None:
                self.hyperparameters.declared = saved["described"]
            self.final = dict(saved.get("final", {}))
        if self.settings.purge == "resume":
            from .writer.event_file import truncate_event_files  # noqa: PLC0415 - tensorboardX imports PyTorch

            self.earlier_files = files
            self.writer.file_id, self.writer.first_step = saved["line"], self.first_step
            sizes = {self.log_dir / name: size for name, size in files.items()}
            runs = [self.log_dir / name for name in self.layout.runs]
            is_own = partial(owned.holds, follow=True)
            self.truncate = partial(truncate_event_files, runs, self.writer.file_id, sizes, is_own)

    # --- inner workings

    def _begin_to_write(self) -> None:
        """Drop what an interrupted run has written after its checkpoint, and write what was decided since."""
        if not self.trains:
            self.trains = True
            self.truncate()
            for each in self.waiting:
                self._write_decision(*each)

    def _epoch_step(self, run: Run) -> int:
        """Return the step of the series of epochs."""
        return run.epoch if self.layout.counts_epochs else max(run.step, run.epoch)

    def _write_header(self, run: Run) -> None:
        """Write once the data that is known before training: settings, environment, hyperparameters, graphs."""
        if self.header_written:
            return
        self.header_written = True
        self._text(0, "settings", settings_table(run))
        self._text(0, "environment", environment_table(run))
        if self.hyperparameters is not None:
            self.hyperparameters.begin()
        if self.settings.write_graph:
            if nodes := graph_of(run.subject, self.settings.batch_size, self._note):
                self._put(0, self.summaries.graph, nodes)
            if json := config_of(run.subject, self._note):
                self._put(0, self.summaries.config, json)

    def _write_custom_layout(self, shown: Mapping[str, float], step: int) -> None:
        """Write the charts of the custom scalars page whenever a new metric appears."""
        before, self.final = self.final, {**self.final, **shown}
        if not self.layout.counts_epochs and before.keys() != self.final.keys():
            present = self.layout.charts(self.final)
            if present != self.layout.charts(before):  # TensorBoard shows the last layout in the file
                self._put(step, partial(self.summaries.charts, "training and validation"), present)
        if self.hyperparameters is not None and any(map(is_validated, shown)):
            self.hyperparameters.declare(step, self.final)

    def _write_embeddings(self, subject: object, projector: Projector, step: int) -> None:
        if not isinstance(subject, HasWeights):
            return
        wanted = {table.weight for table in projector.tables}
        try:
            tables = {name: array.copy() for name, array in subject.weights() if name in wanted}
        except Exception as error:  # noqa: BLE001 - missing embeddings must not end the training
            self.projector = None
            self._note("no embeddings from here on", error)
            return
        self._put(step, projector.write, tables, sum(array.nbytes for array in tables.values()))

    def _write_decision_counts(self) -> None:
        """Write the number of decisions of each kind since the last call."""
        if self.counts_step is not None:
            self.writer.scalars(self.layout.main, self.counts_step, self.decisions.take_counts())
            self.counts_step = None

    def _write_decision(self, at: int, step: int, decision: Decision) -> None:
        if step != self.step:  # in an epoch that may never end
            self.counts_step = step
        self._text(step, "decisions", self.decisions.add(at, decision))

    def _close_safely(self, run: Run) -> None:
        try:
            self._close(run)
        except Exception as error:  # noqa: BLE001 - an observer never ends a run
            self._note("the charts may lack their end", error)

    def _close(self, run: Run) -> None:
        if self.restored and not self.trains:  # it was over, and its charts are complete
            self.writer.close()
            return
        if self.step is not None and self.at_end is not None and self.hyperparameters is not None:
            self.hyperparameters.end(run, self.step, self.final)
        last = self.step if self.counts_step is None else self.counts_step
        self._write_decision_counts()
        if last is not None:
            self._text(last, "decisions", self.decisions.table())
        self.writer.close()

    def _text(self, step: int, tag: str, markdown: str) -> None:
        if markdown:
            self._put(step, partial(self.summaries.text, tag), markdown)

    def _put(self, step: int, make: Callable[[Any], Summary], material: Any, size: int = 0) -> bool:
        return self.writer.put(self.layout.main, step, make, material, size)
