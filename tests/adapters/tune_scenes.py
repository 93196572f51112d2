"""Trials of Ray Tune; ``python -m tests.adapters.tune_scenes FOLDER`` prints what each has reported and written."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

LOSSES = [1.0, 0.5, 0.25, 0.125, 0.0625, 0.03125]


def train(config: dict[str, Any]) -> None:
    """Train a trial, which may fail once, and write how its run has ended."""
    from trainbus import Run, hookimpl  # noqa: PLC0415
    from trainbus.adapters.ray import RayReport, reported  # noqa: PLC0415
    from trainbus.plugins import ModelCheckpoint  # noqa: PLC0415
    from trainbus.testing import LineSubject  # noqa: PLC0415

    folder = Path(config["folder"])

    class Ends:
        """Fails in the fourth epoch if it is told to, and writes what the end of the run is."""

        @hookimpl
        def on_epoch_end(self, epoch: int) -> None:
            if epoch == 3 and not list(folder.glob("failed")):
                (folder / "failed").touch()
                raise ZeroDivisionError("mine")

        @hookimpl
        def on_train_end(self, run: Run) -> None:
            error = None if run.error is None else str(run.error)
            ended = {"reason": run.result.reason, "error": error, "epochs": run.result.epochs}
            (folder / "ended.json").write_text(json.dumps(ended))

    saver = ModelCheckpoint(folder / "m-{epoch}", keep_last=2)
    with Run(LineSubject(), [saver, Ends(), RayReport()], resume=reported(), verbose=0) as run:
        for epoch in run.epochs(len(LOSSES)):
            run.log(loss=LOSSES[epoch])


def main(folder: str) -> None:
    """Tune three trials one after the other, and print what Ray and the run have of each."""
    import ray  # noqa: PLC0415
    from ray import tune  # noqa: PLC0415

    ray.init(num_cpus=1, include_dashboard=False, log_to_driver=False, logging_level="error")
    found: dict[str, Any] = {}
    for name, stop, fails in (("whole", None, False), ("stopped", {"epoch": 2}, False), ("failed", None, True)):
        own = Path(folder) / name
        own.mkdir()
        if not fails:
            (own / "failed").touch()
        run_config = tune.RunConfig(
            storage_path=str(Path(folder) / "ray"),
            name=name,
            stop=stop,
            verbose=0,
            failure_config=tune.FailureConfig(max_failures=1),
        )
        results = tune.Tuner(train, param_space={"folder": str(own)}, run_config=run_config).fit()
        frame = results[0].metrics_dataframe
        found[name] = {
            "losses": None if frame is None else frame["loss"].tolist(),
            "files": sorted(each.name for each in Path(results[0].checkpoint.path).iterdir()),
            "ended": json.loads((own / "ended.json").read_text()),
        }
    print(json.dumps(found), flush=True)
    ray.shutdown()


if __name__ == "__main__":
    main(sys.argv[1])
