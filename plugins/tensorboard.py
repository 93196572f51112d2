"""Show a run in TensorBoard: curves, histograms and pictures of weights, the graph."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BeforeValidator, Field, NonNegativeInt, PositiveInt

from trainbus import Callback, Run, SettingsError, hookimpl
from trainbus.callback import PathText
from trainbus.capabilities import HasGraph, HasWeights, missing
from trainbus.metrics import numbers

if TYPE_CHECKING:
    from .event_files import EventFiles

__all__ = ["TensorBoard"]


def _frequency(value: object) -> object:
    if value in ("epoch", "batch") or (isinstance(value, int) and not isinstance(value, bool) and value > 0):
        return value
    raise ValueError('give "epoch", "batch", or a number of weight updates above 0')


class TensorBoard(Callback):
    """Write a run so that TensorBoard shows it, laid out as Keras does it, without TensorFlow.

    The directory gets two runs, which TensorBoard draws over each other: `train` with every metric as epoch_<name>,
    the learning rate among them, and `validation` with those whose names begin with val_, called epoch_<name> too.
    Steps are epochs, counted from 0. What is no single number is left out; NaN is shown as NaN. Weights appear in
    `train` as <name>/histogram and <name>/image, with the graph.

    A second run with the same directory adds to it. Files are flushed at every epoch, and closed whatever ends the
    run. Where they can be written no more (a full disk, say), one RuntimeWarning tells so and the training goes on.

    >>> TensorBoard("logs", histogram_freq=1).log_dir
    'logs'
    >>> TensorBoard(update_freq=True)
    Traceback (most recent call last):
        ...
    trainbus.errors.SettingsError: TensorBoard: update_freq=True: give "epoch", "batch", or a number of ...
    """

    log_dir: PathText = Field("./logs", kw_only=False)
    """Directory to write into; made where it is not there."""
    histogram_freq: NonNegativeInt = 0
    """Epochs between two histograms of every weight, the first in the first epoch; 0 for none."""
    batch_size: PositiveInt = 32
    """Samples at a time that are run through the model to see its activations. Without effect in this version, which
    shows histograms of weights only; accepted as Keras once did."""
    write_graph: bool = True
    """Whether the graph is written, where the trained subject has one."""
    write_images: bool = True
    """Whether pictures of the weights are written, where the trained subject has any: together with the histograms,
    and with `histogram_freq=0` once, at the end."""
    update_freq: Annotated[Literal["epoch", "batch"] | PositiveInt, BeforeValidator(_frequency)] = "epoch"
    """ "batch", or every how many weight updates the metrics of the running epoch are written as batch_<name>, with
    the number of updates made in the whole run as step. Metrics of whole epochs are written in any case."""

    def requires(self) -> tuple[type, ...]:
        """A subject with weights, where histograms are asked for."""
        return (HasWeights,) if self.histogram_freq else ()

    def claims(self) -> tuple[str, ...]:
        """The directory, as an absolute path."""
        return (str(Path(self.log_dir).resolve()),)

    def plugin(self) -> object:
        """A new listener for one run."""
        return _EpochWriter(self) if self.update_freq == "epoch" else _BatchWriter(self)


class _EpochWriter:
    critical = False

    def __init__(self, settings: TensorBoard) -> None:
        self.settings = settings
        self.files: EventFiles | None = None
        self.last_epoch: int | None = None

    @hookimpl
    def on_train_begin(self, run: Run) -> None:
        from .event_files import EventFiles  # noqa: PLC0415 - tensorboardX imports PyTorch, which takes seconds

        log_dir = Path(self.settings.log_dir).absolute()  # a loop may change its working directory
        try:
            log_dir.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise SettingsError(f"TensorBoard: log_dir={self.settings.log_dir!r} cannot be made: {error}") from None
        self.files = EventFiles(log_dir)
        if self.settings.write_graph and isinstance(run.subject, HasGraph) and missing(run.subject, HasGraph) is None:
            self.files.graph("train", run.subject.graph())

    @hookimpl
    def on_epoch_end(self, run: Run, epoch: int, metrics: Mapping[str, Any]) -> None:
        assert self.files is not None
        self.last_epoch = epoch
        shown = numbers(metrics)
        train = {f"epoch_{name}": value for name, value in shown.items() if not name.startswith("val_")}
        validation = {f"epoch_{name[4:]}": value for name, value in shown.items() if name.startswith("val_")}
        self.files.scalars("train", epoch, train)
        self.files.scalars("validation", epoch, validation)
        freq = self.settings.histogram_freq
        if freq and epoch % freq == 0:
            for name, array in _weights(run.subject):
                self.files.histogram("train", epoch, f"{name}/histogram", array)
                if self.settings.write_images:
                    self.files.image("train", epoch, f"{name}/image", array)
        self.files.flush()

    @hookimpl
    def on_train_end(self, run: Run) -> None:
        if self.files is None:
            return
        try:
            once = self.settings.write_images and not self.settings.histogram_freq and self.last_epoch is not None
            # an error may have left the weights out of reach; an interruption by the user has not
            if once and not isinstance(run.error, Exception):
                for name, array in _weights(run.subject):
                    self.files.image("train", self.last_epoch or 0, f"{name}/image", array)
        finally:
            self.files.close()


class _BatchWriter(_EpochWriter):
    def __init__(self, settings: TensorBoard) -> None:
        super().__init__(settings)
        self.every = settings.update_freq if isinstance(settings.update_freq, int) else 1
        self.intervals = 0  # that have passed in the whole run, also before it was resumed

    @hookimpl
    def on_epoch_begin(self, run: Run) -> None:
        self.intervals = run.step // self.every

    @hookimpl
    def on_batch_end(self, step: int, metrics: Mapping[str, Any]) -> None:
        # a loop may make several updates in one batch, or several batches to one update
        if step // self.every > self.intervals and self.files is not None:
            self.intervals = step // self.every
            shown = {f"batch_{name}": value for name, value in numbers(metrics).items() if not name.startswith("val_")}
            self.files.scalars("train", step, shown)


def _weights(subject: object) -> Iterable[tuple[str, Any]]:
    return subject.weights() if isinstance(subject, HasWeights) and missing(subject, HasWeights) is None else ()
