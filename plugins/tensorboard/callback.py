"""Show a run in TensorBoard: curves, histograms and pictures of weights, the graph, decisions, embeddings."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, NonNegativeInt, PositiveInt

from trainbus import Callback
from trainbus.callback import PathText
from trainbus.capabilities import HasWeights
from trainbus.storage.paths import is_local

from .batch_recorder import BatchCharts, ProfiledCharts
from .epoch_recorder import Charts
from .layouts import LayoutName


def _growing(value: str) -> str:
    if is_local(value):
        return value
    raise ValueError("its files grow while the run goes on, which no store allows; give a directory of this machine")


def _frequency(value: object) -> object:
    if value in ("epoch", "batch") or (isinstance(value, int) and not isinstance(value, bool) and value > 0):
        return value
    raise ValueError('give "epoch", "batch", or a number of weight updates above 0')


def _hyperparameter(value: Any) -> object:
    if getattr(value, "shape", None) == ():  # a single number of NumPy's or PyTorch's
        value = value.item()
    if isinstance(value, str) or (isinstance(value, (int, float)) and abs(value) <= sys.float_info.max):
        return value
    raise ValueError("give a number that is finite, a truth value or text")


def _labels(value: Any) -> object:
    given = value.values() if hasattr(value, "values") else [value]
    if value is None or all(isinstance(each, (str, os.PathLike)) for each in given):
        return value
    raise ValueError("give a file, or one for each layer by name")


def _updates(value: str) -> str:
    found = re.fullmatch(r"([1-9]\d{0,17}):([1-9]\d{0,17})", value)
    if found is None or int(found[1]) > int(found[2]):
        raise ValueError('give the first and the last weight update, such as "10:15"')
    return value


class TensorBoard(Callback):
    """Write a run so that TensorBoard shows it, laid out as Keras does it, without TensorFlow.

    With the default layout the directory gets two runs, which TensorBoard draws over each other: `train` with every
    metric as epoch_<name>, the learning rate of every parameter group among them, and `validation` with those whose
    names begin with val_, called epoch_<name> too. Steps are epochs, counted from 0. What is no single number is left
    out; NaN is shown as NaN. Weights appear as <name>/histogram and <name>/image, their gradients as <name>/gradient,
    what a layer puts out as <layer>/activation, decisions as training_decisions/<kind>: how many fell in each epoch.

    A thread of its own writes the files: an event is in its file a second after it happened, and so is everything
    that happened before a checkpoint when that is written. They are closed whatever ends the run. What cannot be seen,
    drawn or written (on a full disk, say) is one line and one of `run.failures`, and the training goes on.

    A second run with the same directory adds to it; while another run writes there, it is refused.

    >>> TensorBoard("logs", histogram_freq=1).log_dir
    'logs'
    >>> TensorBoard(update_freq=True)
    Traceback (most recent call last):
        ...
    trainbus.errors.SettingsError: TensorBoard: update_freq=True: give "epoch", "batch", or a number of ...
    """

    log_dir: Annotated[PathText, AfterValidator(_growing)] = Field("./logs", kw_only=False)
    """Directory to write into; made where it is not there."""
    histogram_freq: NonNegativeInt = 0
    """Epochs between two looks inside, the first in the first epoch; 0 for none. Every weight gets a histogram, and so
    does what every layer puts out for the validation data, where the subject knows any."""
    batch_size: PositiveInt = 32
    """Samples at a time that are run through the subject, to see what its layers put out and to follow its graph."""
    write_graph: bool = True
    """Whether the graph is written, where the trained subject has one: the operations where it can be followed through
    a pass over validation data, else its parts."""
    write_images: bool = True
    """Whether pictures of the weights are written, where the trained subject has any: together with the histograms,
    and with `histogram_freq=0` once, at the end."""
    update_freq: Annotated[Literal["epoch", "batch"] | PositiveInt, BeforeValidator(_frequency)] = "epoch"
    """ "batch", or every how many weight updates the metrics of the running epoch are written as batch_<name>, with
    the number of updates made in the whole run as step. Metrics of whole epochs are written in any case."""
    layout: LayoutName = "keras"
    """How series are named: "keras"; "lightning" (loss_epoch, val_loss, loss_step) or "slash" (loss/train, loss/val,
    loss/batch), which both have one run, weight updates as steps, the number of the epoch as a series, and on the page
    of custom scalars each metric's training and validation in one chart."""
    write_grads: bool = False
    """Whether the gradient of each weight, as of one update in the epoch, gets a histogram with the weights."""
    embeddings_freq: NonNegativeInt = 0
    """Epochs between two looks at the embeddings, which the projector shows as of the last one; 0 for none."""
    embeddings_layer_names: tuple[str, ...] | None = None
    """Layers whose tables are shown; None for all that the graph calls embeddings."""
    embeddings_metadata: Annotated[PathText | dict[str, PathText] | None, BeforeValidator(_labels)] = None
    """A file with a label a line for each row of the table, or one for each layer by name; it is copied. With several
    columns, divided by tabs, its first line holds their names."""
    write_steps_per_second: bool = False
    """Whether the speed is written: weight updates a second, as steps_per_second."""
    profile: Annotated[str, AfterValidator(_updates)] | None = None
    """The first and the last weight update, counted from 1, over which PyTorch's profiler writes a trace: "10:15"."""
    max_images: PositiveInt = 3
    """Most pictures of one weight: a grid of all its kernels, and further ones for those that find no room in it."""
    hparams: dict[str, Annotated[bool | int | float | str, BeforeValidator(_hyperparameter)]] | None = None
    """Hyperparameters for the page that compares runs by them and by the metrics that they end with."""
    purge: Literal["resume", "never"] = "resume"
    """Whether a resumed run takes back what the interrupted one wrote after the checkpoint, so that no curve has a
    step twice."""

    def __hash__(self) -> int:
        return hash(self.model_dump_json())

    def requires(self) -> tuple[type, ...]:
        """A subject with weights, where histograms or embeddings are asked for."""
        return (HasWeights,) if self.histogram_freq or self.embeddings_freq else ()

    def exclusive_paths(self) -> tuple[str, ...]:
        """The directory, as an absolute path."""
        return (str(Path(self.log_dir).resolve()),)

    def directories(self) -> tuple[str, ...]:
        """The directory, as an absolute path."""
        return self.exclusive_paths()

    def compatible_with(self, earlier: Mapping[str, Any]) -> bool:
        """The same directory is laid out in the same way."""
        return (earlier.get("log_dir"), earlier.get("layout")) == (self.log_dir, self.layout)

    def plugin(self) -> object:
        """A new listener for one run."""
        if self.profile is not None:
            return ProfiledCharts(self)
        return Charts(self) if self.update_freq == "epoch" else BatchCharts(self)
