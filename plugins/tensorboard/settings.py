"""The options of TensorBoard."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, BeforeValidator, Field, NonNegativeInt, PositiveInt

from trainbus import Callback
from trainbus.callback import PathText
from trainbus.storage.paths import is_local

from .layouts import LayoutName


def _check_local(value: str) -> str:
    if is_local(value):
        return value
    raise ValueError("event files grow during the run, which object stores do not support; give a local directory")


def _check_frequency(value: object) -> object:
    if value in ("epoch", "batch") or (isinstance(value, int) and not isinstance(value, bool) and value > 0):
        return value
    raise ValueError('give "epoch", "batch", or a number of weight updates above 0')


def _check_hyperparameter(value: Any) -> object:
    if getattr(value, "shape", None) == ():  # a scalar of NumPy or PyTorch
        value = value.item()
    if isinstance(value, str) or (isinstance(value, (int, float)) and abs(value) <= sys.float_info.max):
        return value
    raise ValueError("give a finite number, a bool or text")


def _check_metadata(value: Any) -> object:
    paths = value.values() if hasattr(value, "values") else [value]
    if value is None or all(isinstance(each, (str, os.PathLike)) for each in paths):
        return value
    raise ValueError("give a file, or a mapping of layer names to files")


def _check_profile(value: str) -> str:
    found = re.fullmatch(r"([1-9]\d{0,17}):([1-9]\d{0,17})", value)
    if found is None or int(found[1]) > int(found[2]):
        raise ValueError('give the first and the last weight update, such as "10:15"')
    return value


class TensorBoardSettings(Callback):
    """The options of ``TensorBoard``, which adds their effect on a run."""

    elsewhere: ClassVar[Mapping[str, str]] = {
        "default_hp_metric": "hparams",
        "log_every_n_steps": "update_freq",
        "log_graph": "write_graph",
        "logging_dir": "log_dir",
        "profile_batch": 'profile, as in profile="10:15"',
        "save_dir": "log_dir",
    }

    log_dir: Annotated[PathText, AfterValidator(_check_local)] = Field("./logs", kw_only=False)
    """Directory to write into; created if it does not exist. {run} in it is the id of the run (``Run(run_id=...)``)."""
    histogram_freq: NonNegativeInt = 0
    """Number of epochs between two histograms of each weight, the first in the first epoch; 0 for none. The outputs of
    each layer get histograms, too, if the subject has validation data."""
    batch_size: PositiveInt = 32
    """Number of samples in each forward pass that computes layer outputs or traces the graph."""
    write_graph: bool = True
    """Whether to write the model's graph, if the subject has one: its operations, if a forward pass over validation
    data can be traced, else its layers."""
    write_images: bool = True
    """Whether to write images of the weights, if the subject has any: with the histograms, or once, at the end, if
    ``histogram_freq=0``."""
    update_freq: Annotated[Literal["epoch", "batch"] | PositiveInt, BeforeValidator(_check_frequency)] = "epoch"
    """When to write the running means of the present epoch as batch_<name>, over the number of weight updates in the
    run: "epoch" never, "batch" after every batch, a number after this many weight updates. The metrics of complete
        epochs
    are always written."""
    layout: LayoutName = "keras"
    """Names of the series: "keras"; "lightning" (loss_epoch, val_loss, loss_step); or "slash" (loss/train, loss/val,
    loss/batch). The last two write one TensorBoard run, over weight updates, with the epoch's number as a series; on
    the custom scalars page, each metric has one chart for training and validation."""
    write_grads: bool = False
    """Whether to write a histogram of each weight's gradient, from one update of the epoch, with the weights."""
    embeddings_freq: NonNegativeInt = 0
    """Number of epochs between two updates of the embeddings in the projector; 0 for none."""
    embeddings_layer_names: tuple[str, ...] | None = None
    """Layers whose tables the projector shows; None for all embedding layers of the graph."""
    embeddings_metadata: Annotated[PathText | dict[str, PathText] | None, BeforeValidator(_check_metadata)] = None
    """A file of labels, one line for each row of the table; or a mapping of layer names to files. The files are copied.
    In a file of several columns, separated by tabs, the first line holds the names of the columns."""
    write_steps_per_second: bool = False
    """Whether to write the number of weight updates per second, as steps_per_second."""
    profile: Annotated[str, AfterValidator(_check_profile)] | None = None
    """First and last weight update, counted from 1, to trace with PyTorch's profiler: "10:15"."""
    max_images: PositiveInt = 3
    """Maximum number of images of one weight: kernels that do not fit into the first grid go into further images."""
    hparams: dict[str, Annotated[bool | int | float | str, BeforeValidator(_check_hyperparameter)]] | None = None
    """Hyperparameters of the run, for the page that compares runs by them and by their final metrics."""
    purge: Literal["resume", "never"] = "resume"
    """Whether a resumed run removes the events that the interrupted run wrote after the checkpoint ("resume"), so that
    no curve has a step twice, or keeps them ("never").
    """
