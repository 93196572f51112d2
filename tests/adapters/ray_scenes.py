"""Runs in one worker of Ray Train; ``python -m tests.adapters.ray_scenes FOLDER`` prints what Ray had in each."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

LOSSES = [1.0, 0.5, 0.25, 0.125]


def train(config: dict[str, Any]) -> None:
    """Run every scene and write what Ray had in each."""
    import ray.train  # noqa: PLC0415

    from trainbus import Run, hookimpl  # noqa: PLC0415
    from trainbus.adapters.ray import RayReport, reported  # noqa: PLC0415
    from trainbus.plugins import EarlyStopping, ModelCheckpoint  # noqa: PLC0415
    from trainbus.testing import LineSubject  # noqa: PLC0415

    os.chdir(config["folder"])

    def files() -> list[str] | None:
        checkpoint = ray.train.get_checkpoint()
        return None if checkpoint is None else sorted(os.listdir(checkpoint.path))

    class Watch:
        """A plugin that records what Ray has of each epoch; it is called after ``RayReport``."""

        def __init__(self) -> None:
            self.files: list[Any] = []

        @hookimpl(trylast=True)
        def on_epoch_begin(self) -> None:
            self.files.append(files())

    class Raises:
        @hookimpl(trylast=True)
        def on_epoch_end(self, epoch: int) -> None:
            if epoch == 1:
                raise ZeroDivisionError("mine")

    def run(*callbacks: Any, epochs: int = 3, resume: str | None = None, losses: Sequence[float] = LOSSES) -> Any:
        with Run(LineSubject(), [*callbacks, RayReport()], resume=resume, verbose=0) as run:
            for epoch in run.epochs(epochs):
                run.log(loss=losses[epoch])
        return run

    found: dict[str, Any] = {"before": reported()}
    without, watch = Watch(), Watch()
    run(without)
    found["without"] = [*without.files, files()]
    run(ModelCheckpoint("each/m-{epoch}", keep_last=2), watch)
    found["each"] = [*watch.files, files()]
    found["kept"] = sorted(path.name for path in Path("each").glob("*.npz"))
    resumed = run(ModelCheckpoint("each/m-{epoch}"), epochs=4, resume=reported())
    found["resumed"] = [resumed.resumed.epoch, resumed.history["loss"]]
    stopper = EarlyStopping(monitor="loss", patience=9, restore_best_weights=True)
    run(ModelCheckpoint("best/m"), stopper, losses=LOSSES[::-1])
    found["snapshots"] = [files(), sorted(os.listdir("best"))]
    try:
        run(ModelCheckpoint("fails/m-{epoch}"), Raises())
    except ZeroDivisionError:
        found["fails"] = files()
    Path("found.json").write_text(json.dumps(found))


def main(folder: str) -> None:
    """Train, and print what the worker found and what Ray has in the end."""
    import ray  # noqa: PLC0415
    from ray.train import RunConfig, ScalingConfig  # noqa: PLC0415
    from ray.train.torch import TorchConfig, TorchTrainer  # noqa: PLC0415

    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="error")
    trainer = TorchTrainer(
        train,
        train_loop_config={"folder": folder},
        torch_config=TorchConfig(backend="gloo"),
        scaling_config=ScalingConfig(num_workers=1),
        run_config=RunConfig(storage_path=folder, name="ray"),
    )
    result = trainer.fit()
    found = json.loads((Path(folder) / "found.json").read_text())
    print(json.dumps({**found, "metrics": result.metrics}), flush=True)
    ray.shutdown()


if __name__ == "__main__":
    main(sys.argv[1])
