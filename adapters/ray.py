"""Ray Train: report epochs and committed checkpoints to it, and resume after it restarts its workers.

The loop inside ``train_loop_per_worker`` is the one without Ray, with a ``RayReport`` in its list::

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
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from trainbus import MissingDependency, Run, hookimpl
from trainbus.checkpoints import Checkpoint, entries_of, manifest_of, payloads_in
from trainbus.checkpoints.history.history_reader import reference_in
from trainbus.metrics.scalars import to_scalars
from trainbus.storage.backend import backend_for, existing
from trainbus.storage.paths import Location, resolve_relative

try:
    import ray.train as ray_train
except ImportError as error:
    raise MissingDependency(f"{error}; pip install 'trainbus[ray]'") from error

__all__ = ["RayReport", "reported"]


class RayReport:
    """A plugin that reports each epoch to Ray Train, with the newest checkpoint committed since the last report.

    It reports an epoch when the epoch's checkpoints are on disk: when the next epoch begins, or when the run ends.
    Every worker must list one, since a report waits for all workers. Only the worker that wrote a checkpoint reports
    it, with its manifest and the snapshots that it refers to. Ray copies these files to its storage and keeps as many
    checkpoints as its ``CheckpointConfig`` allows; trainbus's own files stay where they are.
    """

    def __init__(self) -> None:
        self._metrics: dict[str, Any] | None = None
        self._checkpoint: Checkpoint | None = None

    @hookimpl
    def on_train_begin(self, run: Run) -> None:
        """Report the last epoch when the run ends without an error."""
        run.at_end(lambda: self._report() if run.error is None else None)

    @hookimpl
    def on_epoch_begin(self) -> None:
        """Report the previous epoch."""
        self._report()

    @hookimpl
    def on_epoch_end(self, run: Run, epoch: int, metrics: Mapping[str, Any]) -> None:
        """Store the metrics that are numbers."""
        self._metrics = {**to_scalars(metrics), "epoch": epoch, "step": run.step}

    @hookimpl
    def on_checkpoint(self, checkpoint: Checkpoint) -> None:
        """Store the newest checkpoint."""
        self._checkpoint = checkpoint

    def _report(self) -> None:
        metrics, self._metrics = self._metrics, None
        checkpoint, self._checkpoint = self._checkpoint, None
        if metrics is None:
            return
        files = [] if checkpoint is None else existing(_files_of(checkpoint.path))
        if not files:  # nothing was committed, or retention has deleted it
            ray_train.report(metrics)
            return
        with tempfile.TemporaryDirectory() as folder:
            for file in files:
                _copy(file, Path(folder) / file.name)
            ray_train.report(metrics, checkpoint=ray_train.Checkpoint.from_directory(folder))


def reported() -> str | None:
    """Return a directory with the newest checkpoint that was reported to Ray, for ``resume=``; None before the first.

    Returns:
        The directory's path, or None if nothing that can be resumed was reported yet.
    """
    checkpoint = ray_train.get_checkpoint()
    if checkpoint is None:
        return None
    folder = str(checkpoint.to_directory())
    return folder if payloads_in(Path(folder)) else None


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
