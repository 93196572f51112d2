"""Ray Train and Ray Tune: report epochs and committed checkpoints, and resume after a restart.

The loop inside ``train_loop_per_worker``, or inside the function that ``ray.tune.Tuner`` calls, is the one without Ray,
with a ``RayReport`` in its list::

    def train_loop(config):
        model = ray.train.torch.prepare_model(make_model())
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        callbacks = [ModelCheckpoint("run/m-{epoch}", keep_last=2), EarlyStopping(patience=3), RayReport()]
        with Run(TorchSubject(model, optimizer), callbacks, resume=reported()) as run:
            for epoch in run.epochs(20):
                ...

    TorchTrainer(
        train_loop,
        scaling_config=ScalingConfig(num_workers=2),
        run_config=RunConfig(storage_path=..., failure_config=FailureConfig(max_failures=3)),
    ).fit()
"""

# Ray's types are partly unknown, and it is not installed where types are checked
# pyright: basic, reportMissingImports=false

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from trainbus import Decision, MissingDependency, Run, hookimpl
from trainbus.checkpoints import Checkpoint, entries_of, manifest_of, payloads_in
from trainbus.checkpoints.history.history_reader import reference_in
from trainbus.decision import stop
from trainbus.metrics.scalars import to_scalars
from trainbus.storage.backend import backend_for, existing
from trainbus.storage.paths import Location, resolve_relative

try:
    import ray.train as ray_train
except ImportError as error:
    raise MissingDependency(f"{error}; pip install 'trainbus[ray]'") from error

__all__ = ["RayReport", "reported"]


class RayReport:
    """A plugin that reports each epoch to Ray, with the newest checkpoint committed since the last report.

    It reports an epoch when the epoch's checkpoints are on disk: when the next epoch begins, or when the run ends.
    Ray copies the files of a checkpoint to its storage and keeps as many as its ``CheckpointConfig`` allows; trainbus's
    own files stay where they are.

    In Ray Train, every worker must list one, since a report waits for all workers. Only the worker that wrote a
    checkpoint reports it, with its manifest and the snapshots that it refers to.

    In Ray Tune, the run of a trial that Tune stops, for example by a scheduler, ends in order, and then the trial's
    function ends. If Tune continues the trial, ``resume=reported()`` continues the run.
    """

    def __init__(self) -> None:
        self._metrics: dict[str, Any] | None = None
        self._checkpoint: Checkpoint | None = None
        self._exit: SystemExit | None = None
        """What Ray Tune has raised to end the trial."""
        self._ray: Any = ray_train

    @hookimpl
    def on_train_begin(self, run: Run) -> None:
        """Report the last epoch when the run ends without an error."""
        self._ray = _present_library()
        run.at_end(lambda: self._leave(run))

    @hookimpl
    def on_epoch_begin(self) -> Decision | None:
        """Report the previous epoch."""
        try:
            self._report()
        except SystemExit as error:
            self._exit = error
            return stop("Ray Tune has ended the trial")
        return None

    @hookimpl
    def on_epoch_end(self, run: Run, epoch: int, metrics: Mapping[str, Any]) -> None:
        """Store the metrics that are numbers."""
        self._metrics = {**to_scalars(metrics), "epoch": epoch, "step": run.step}

    @hookimpl
    def on_checkpoint(self, checkpoint: Checkpoint) -> None:
        """Store the newest checkpoint."""
        self._checkpoint = checkpoint

    def _leave(self, run: Run) -> None:
        if run.error is None:
            self._report()
        if self._exit is not None:
            raise self._exit

    def _report(self) -> None:
        metrics, self._metrics = self._metrics, None
        checkpoint, self._checkpoint = self._checkpoint, None
        if metrics is None:
            return
        files = [] if checkpoint is None else existing(_files_of(checkpoint.path))
        if not files:  # nothing was committed, or retention has deleted it
            self._ray.report(metrics)
            return
        with tempfile.TemporaryDirectory() as folder:
            for file in files:
                _copy(file, Path(folder) / file.name)
            self._ray.report(metrics, checkpoint=self._ray.Checkpoint.from_directory(folder))


def reported() -> str | None:
    """Return a directory with the newest checkpoint that was reported to Ray, for ``resume=``; None before the first.

    Returns:
        The directory's path, or None if nothing that can be resumed was reported yet.
    """
    checkpoint = _present_library().get_checkpoint()
    if checkpoint is None:
        return None
    folder = str(checkpoint.to_directory())
    return folder if payloads_in(Path(folder)) else None


def _present_library() -> Any:
    """Return ``ray.tune`` in a trial of Ray Tune, else ``ray.train``: each reports to its own session."""
    tune: Any = sys.modules.get("ray.tune")  # a trial has imported it
    if hasattr(tune, "get_context"):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it warns where there is no trial
            if tune.get_context().get_trial_id() is not None:
                return tune
    return ray_train


def _files_of(path: Location) -> list[Location]:
    """Return a payload, its manifest, and the snapshot files in its directory that the manifest refers to."""
    slots = [slot["file"] for entry in entries_of(path) for slot in entry.run_state.get("slots", {}).values()]
    snapshots = [resolve_relative(path.parent, file) for file in dict.fromkeys(slots) if file and os.sep not in file]
    histories = (reference_in(entry.run_state) for entry in entries_of(path))
    files = {each.file for each in histories if each is not None and each.file and "/" not in each.file}
    return [path, manifest_of(path), *snapshots, *(path.parent / file for file in sorted(files))]


def _copy(file: Location, target: Path) -> None:
    with backend_for(file).as_local_file() as source:
        if source.is_dir():
            shutil.copytree(source, target)
        else:
            shutil.copyfile(source, target)
