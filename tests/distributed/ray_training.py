"""A training under Ray Train on two workers, one of which may be killed; ``python -m`` prints the outcome."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

EPOCHS = 6


def train(config: dict[str, Any]) -> None:
    """Train on each worker: the loop of a single process, with a report to Ray."""
    import ray.train
    import torch
    from ray.train.torch import prepare_model

    from trainbus import Run, hookimpl
    from trainbus.adapters.ray import RayReport, reported
    from trainbus.adapters.torch import TorchSubject
    from trainbus.plugins import EarlyStopping, ModelCheckpoint, ReduceLROnPlateau

    context = ray.train.get_context()
    rank, folder = context.get_world_rank(), Path(config["folder"])

    class Killed:
        @hookimpl
        def on_batch_end(self, run: Run) -> None:
            mark = folder / "killed"
            if config["kill"] and rank == 1 and run.epoch == 3 and not mark.exists():
                mark.touch()
                os.kill(os.getpid(), signal.SIGKILL)

    torch.manual_seed(0)
    x = torch.randn(64, 4)
    y = x.sum(1, keepdim=True)
    model = prepare_model(torch.nn.Linear(4, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.02, momentum=0.9)
    callbacks = [
        ModelCheckpoint(str(folder / "run" / "m-{epoch}"), keep_last=2),
        EarlyStopping(monitor="loss", patience=3),
        ReduceLROnPlateau(monitor="loss", patience=1),
        RayReport(),
        Killed(),
    ]
    with Run(TorchSubject(model, optimizer), callbacks, resume=reported()) as run:
        resumed = run.resumed
        for _ in run.epochs(EPOCHS):
            order = torch.randperm(64)[rank::2]
            for rows in run.batches(order.split(8)):
                loss = torch.nn.functional.mse_loss(model(x[rows]), y[rows])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                run.log(loss=loss, count=len(rows))
    weights = b"".join(each.detach().numpy().tobytes() for each in model.parameters())
    report = {
        "history": run.history,
        "weights": hashlib.sha256(weights).hexdigest(),
        "resumed": resumed.step if resumed else None,
    }
    (folder / f"rank-{rank}.json").write_text(json.dumps(report))


def main(folder: str, kill: bool) -> None:
    """Train, and print what Ray and the workers have in the end."""
    import ray
    from ray.train import FailureConfig, RunConfig, ScalingConfig
    from ray.train.torch import TorchConfig, TorchTrainer

    ray.init(num_cpus=3, include_dashboard=False, log_to_driver=False, logging_level="error")
    trainer = TorchTrainer(
        train,
        train_loop_config={"folder": folder, "kill": kill},
        torch_config=TorchConfig(backend="gloo"),
        scaling_config=ScalingConfig(num_workers=2),
        run_config=RunConfig(storage_path=folder, name="ray", failure_config=FailureConfig(max_failures=2)),
    )
    result = trainer.fit()
    ranks = [json.loads((Path(folder) / f"rank-{rank}.json").read_text()) for rank in range(2)]
    files = sorted(os.listdir(result.checkpoint.path)) if result.checkpoint else []
    killed = (Path(folder) / "killed").exists()
    print(json.dumps({"ranks": ranks, "metrics": result.metrics, "files": files, "killed": killed}), flush=True)
    ray.shutdown()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2] == "kill")
