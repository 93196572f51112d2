"""What listens to a run and has TensorBoard show it."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainbus import CheckpointError, Decision, Run, SettingsError, hookimpl
from trainbus.capabilities import HasWeights
from trainbus.metrics.scalars import to_scalars
from trainbus.storage.directory_lock import LockKind, lock_directories

from .decision_table import DecisionLog
from .layouts import LAYOUTS
from .model_graph import config_of, graph_of
from .model_inspection import Inspection
from .speed import Speed

if TYPE_CHECKING:
    from . import TensorBoard
    from .projector import Projector
    from .writer.event_writer import EventWriter, Made

CHARTS = LockKind(".trainbus.tensorboard.lock", "charts")


class Charts:
    """Writes what happens once an epoch.

    Args:
        settings: what was asked for.
    """

    critical = False
    log_dir: Path
    start: int
    """The step after which a resumed run goes on."""
    writer: EventWriter
    inspection: Inspection
    _note: Callable[[str, Exception], object]
    opened = False

    def __init__(self, settings: TensorBoard) -> None:
        self.settings = settings
        self.layout = LAYOUTS[settings.layout]
        self.decisions = DecisionLog()
        self.projector: Projector | None = None
        self.introduced = self.described = self.recalled = False
        self.final: dict[str, float] = {}  # what each metric came to last
        self.step: int | None = None  # of the last epoch that is over
        self.marked = True  # whether its decisions are written
        self.decided = -1  # the step of the last decision
        self.earlier: dict[str, int] = {}  # the files of this run from before it was interrupted, with their sizes
        self.speed = Speed()

    # --- events

    @hookimpl
    def on_train_begin(self, run: Run) -> None:
        """Own the directory, and start the thread that writes."""
        from .writer.event_writer import EventWriter  # noqa: PLC0415 - tensorboardX imports PyTorch, which takes seconds

        settings = self.settings
        self.log_dir = Path(settings.log_dir).absolute()  # a loop may change its working directory
        with ExitStack() as undone:
            try:
                undone.push(lock_directories([self.log_dir], CHARTS))
            except CheckpointError as error:
                raise SettingsError(f"TensorBoard: log_dir={settings.log_dir!r}: {error}") from None
            if settings.embeddings_freq:
                from .projector import Projector  # noqa: PLC0415

                layers, metadata = settings.embeddings_layer_names, settings.embeddings_metadata
                self.projector = Projector(self.log_dir / self.layout.main, run.subject, layers, metadata)
            run.at_end(undone.pop_all().close)
        self.start = max(run.step, run.epoch) + 1
        self._note = partial(run.note_failure, self)
        self.writer, self.opened = EventWriter(self.log_dir, secrets.token_hex(4), self._note), True
        run.at_end(self._close)
        self.inspection = Inspection(
            run.subject,
            self._put,
            self._note,
            every=settings.histogram_freq,
            batch_size=settings.batch_size,
            gradients=settings.write_grads,
            images=settings.max_images if settings.write_images else 0,
        )

    @hookimpl
    def on_epoch_begin(self, run: Run) -> None:
        """Nothing more can be decided in the epoch before."""
        self._mark()
        self.speed.begin(run.step)
        self._introduce(run)
        self.inspection.begin_epoch(run.epoch)

    @hookimpl
    def on_validation_end(self, run: Run, epoch: int, metrics: Mapping[str, Any]) -> None:
        """Keras shows each validation over the weight updates, too."""
        if self.layout.iterations is not None:
            name, step = self.layout.iterations, max(run.step, epoch)
            values = {name.format(each.removeprefix("val_")): value for each, value in to_scalars(metrics).items()}
            self.writer.scalars(self.layout.validation, step, values)

    @hookimpl
    def on_epoch_end(self, run: Run, epoch: int, metrics: Mapping[str, Any]) -> None:
        """Write the epoch's metrics, and what is due of weights and embeddings."""
        settings, layout = self.settings, self.layout
        self.marked = False
        self.step = step = self._present(run)
        shown = to_scalars(metrics)
        self._describe(shown, step)
        if settings.write_steps_per_second:
            shown.setdefault("steps_per_second", self.speed.until(run.step))
        by_run: dict[str, dict[str, float]] = {name: {} for name in layout.runs}
        for name, value in shown.items():
            place = layout.of_epoch(name)
            by_run[place.run][place.tag] = value
        if not layout.counts_epochs:
            by_run[layout.main]["epoch"] = float(epoch)
        for name, values in by_run.items():
            self.writer.scalars(name, step, values)
        self.inspection.end_epoch(epoch, step)
        if self.projector is not None and epoch % settings.embeddings_freq == 0:
            self._show_embeddings(run.subject, self.projector, step)

    @hookimpl
    def on_decision(self, run: Run, decision: Decision) -> None:
        """Write what was decided, and why."""
        rows = self.decisions.add(run.epoch, decision)
        self.decided = self._present(run)
        self._text(self.decided, "decisions", rows)

    @hookimpl
    def on_train_end(self, run: Run) -> None:
        """Write what is known at the end; decisions may still follow."""
        if not self.opened:
            return
        try:
            if self.step is not None:
                self._conclude(run, self.step)
        finally:
            self.writer.flush()

    # --- state

    def state_dict(self) -> dict[str, Any]:
        """How long each file is, with everything in it that happened until here."""
        self.writer.flush()  # so that no checkpoint is ahead of the charts
        files = {path.relative_to(self.log_dir).as_posix(): size for path, size in self.writer.sizes().items()}
        return {
            "line": self.writer.line,
            "files": {**self.earlier, **files},
            "introduced": self.introduced,
            "described": self.described,
            "final": self.final,
            "step": self.step,
            "marked": self.marked,
            "decided": self.decided,
            "decisions": self.decisions.state_dict(),
        }

    def load_state_dict(self, saved: Mapping[str, Any]) -> None:
        """Go on from there: what the interrupted run wrote after that is taken back."""
        if self.recalled:  # already, and what was told since then is not to be forgotten
            return
        self.recalled = True
        self.step, self.marked, self.decided = saved["step"], saved["marked"], saved.get("decided", -1)
        self.decisions.load_state_dict(saved["decisions"])
        files = {name: size for name, size in saved["files"].items() if (self.log_dir / name).exists()}
        if files:
            self.introduced, self.described = saved["introduced"], saved["described"]
            self.final = dict(saved.get("final", {}))
        if self.settings.purge == "resume":
            from .writer.event_file import cut_back  # noqa: PLC0415 - as above

            self.earlier = files
            self.writer.line, self.writer.start = saved["line"], self.start
            directories = [self.log_dir / name for name in self.layout.runs]
            cut_back(directories, self.writer.line, {self.log_dir / name: size for name, size in files.items()})

    # --- inner workings

    def _present(self, run: Run) -> int:
        """The step of what is written once an epoch."""
        return run.epoch if self.layout.counts_epochs else max(run.step, run.epoch)

    def _introduce(self, run: Run) -> None:
        """What is known before anything is trained; of a resumed run, first what became of its files."""
        if self.introduced:
            return
        self.introduced = True
        from . import text_tables as run_texts  # noqa: PLC0415 - as above
        from .writer import summaries  # noqa: PLC0415 - as above

        self._text(0, "settings", run_texts.settings(run))
        self._text(0, "environment", run_texts.environment(run))
        if self.settings.hparams is not None:
            self._put(0, summaries.hparams, self.settings.hparams)
        if self.settings.write_graph:
            if nodes := graph_of(run.subject, self.settings.batch_size, self._note):
                self._put(0, summaries.graph, nodes)
            if json := config_of(run.subject, self._note):
                self._put(0, summaries.config, json)

    def _describe(self, shown: Mapping[str, float], step: int) -> None:
        """What is known as soon as the names of the metrics are; some may only come with a later validation."""
        from .writer.summaries import charts  # noqa: PLC0415 - as above

        before, self.final = self.layout.overlaid(self.final), {**self.final, **shown}
        overlaid = self.layout.overlaid(self.final)
        if overlaid != before and not self.layout.counts_epochs:  # of several, TensorBoard takes the last
            self._put(step, partial(charts, "training and validation"), overlaid)
        if any(name.startswith("val_") for name in shown):
            self._announce(step)

    def _announce(self, step: int) -> None:
        """Which metrics stand on the page of hyperparameters, where TensorBoard takes the first that it is told."""
        from .writer.summaries import hparams_metrics  # noqa: PLC0415 - as above

        hparams = self.settings.hparams
        if hparams is not None and not self.described:
            self.described = True
            self._put(step, partial(hparams_metrics, hparams), [f"hparam/{name}" for name in self.final])

    def _conclude(self, run: Run, step: int) -> None:
        """What is known at the end."""
        from .writer.summaries import hparams_end  # noqa: PLC0415 - as above

        settings, failed = self.settings, isinstance(run.error, Exception)
        # an error may have left the weights out of reach; an interruption by the user has not
        if settings.write_images and not settings.histogram_freq and not failed:
            self.inspection.show_weights(step, histograms=False)
        if settings.hparams is not None:
            self._announce(step)
            last = {f"hparam/{name}": value for name, value in self.final.items()}
            self.writer.scalars(self.layout.main, step, last)
            self._put(step, lambda success: hparams_end(success=success), not failed)

    def _show_embeddings(self, subject: object, projector: Projector, step: int) -> None:
        if not isinstance(subject, HasWeights):
            return
        wanted = {table.weight for table in projector.tables}
        try:
            tables = {name: array.copy() for name, array in subject.weights() if name in wanted}
        except Exception as error:  # noqa: BLE001 - training is worth more than its pictures
            self.projector = None
            self._note("no embeddings from here on", error)
            return
        self._put(step, projector.write, tables, sum(array.nbytes for array in tables.values()))

    def _mark(self) -> None:
        """How many decisions of each kind fell in the epoch that is over."""
        if self.step is not None and not self.marked:
            self.marked = True
            self.writer.scalars(self.layout.main, self.step, self.decisions.take())

    def _close(self) -> None:
        if self.decided > (-1 if self.step is None else self.step):  # in an epoch that never ended
            self.step, self.marked = self.decided, False
        self._mark()
        if self.step is not None:
            self._text(self.step, "decisions", self.decisions.table())
        self.writer.close()

    def _text(self, step: int, tag: str, markdown: str) -> None:
        from .writer.summaries import text  # noqa: PLC0415 - as above

        if markdown:
            self._put(step, partial(text, tag), markdown)

    def _put(self, step: int, make: Callable[[Any], Made], material: Any, size: int = 0) -> bool:
        return self.writer.put(self.layout.main, step, make, material, size)
