"""Create the logs next to this file that libraries write; each is created only if its library is installed.

    python make_logs.py DIRECTORY [lightning] [mmengine] [transformers]

The other logs are written by hand after the code of the scripts that print them: detectron2's and DETR's JSON lines,
MMDetection 2's, and the texts of nanoGPT, llm.c and build-nanogpt.
"""

import logging
import os
import shutil
import sys
import warnings
from pathlib import Path
from typing import Any


def lightning(place: Path) -> None:
    """CSVLogger of a ``fit`` that validates twice an epoch."""
    import torch
    from lightning import LightningModule, Trainer
    from lightning.pytorch.loggers import CSVLogger

    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)

    class Model(LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.layer = torch.nn.Linear(3, 1)

        def training_step(self, batch: Any) -> Any:
            loss = self.layer(batch).square().mean()
            self.log("train_loss", loss, on_step=False, on_epoch=True)
            return loss

        def validation_step(self, batch: Any) -> None:
            self.log("val_loss", self.layer(batch).square().mean())

        def configure_optimizers(self) -> Any:
            return torch.optim.SGD(self.parameters(), lr=0.1)

    torch.manual_seed(0)
    loader = torch.utils.data.DataLoader(torch.rand(32, 3), batch_size=4)
    Trainer(
        max_epochs=3,
        val_check_interval=0.5,
        accelerator="cpu",
        logger=CSVLogger(place, "lightning", version=""),
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
    ).fit(Model(), loader, loader)
    (place / "lightning" / "hparams.yaml").unlink(missing_ok=True)


def mmengine(place: Path) -> None:
    """The numbers of MMEngine's ``Runner``: of a loop over epochs, and of one over iterations."""
    import torch
    from mmengine.evaluator import BaseMetric
    from mmengine.model import BaseModel
    from mmengine.runner import Runner

    class Model(BaseModel):
        def __init__(self) -> None:
            super().__init__()
            self.layer = torch.nn.Linear(3, 1)

        def forward(self, x: Any, y: Any, mode: str) -> Any:
            out = self.layer(x)[:, 0]
            return {"loss": (out - y).square().mean()} if mode == "loss" else (out, y)

    class Score(BaseMetric):
        default_prefix = "toy"

        def process(self, batch: Any, samples: Any) -> None:
            self.results.append(float((samples[0] - samples[1]).abs().mean()))

        def compute_metrics(self, results: list[float]) -> dict[str, float]:
            return {"mAP": 1 - sum(results) / len(results)}

    for name, by_epoch in [("mmengine_epochs", True), ("mmengine_iterations", False)]:
        torch.manual_seed(0)
        data: Any = [(row, row.sum()) for row in torch.rand(24, 3)]
        loader = torch.utils.data.DataLoader(data, batch_size=4)
        length = {"max_epochs": 4, "val_interval": 1} if by_epoch else {"max_iters": 24, "val_interval": 6}
        log = {"type": "LoggerHook", "interval": 2, "log_metric_by_epoch": by_epoch}
        Runner(
            Model(),
            work_dir=str(place / "work"),
            train_dataloader=loader,
            val_dataloader=loader,
            val_evaluator=[Score()],
            val_cfg={},
            train_cfg={"by_epoch": by_epoch, **length},
            optim_wrapper={"optimizer": {"type": torch.optim.SGD, "lr": 0.1}},
            default_hooks={"logger": log, "checkpoint": None},
            log_processor={"by_epoch": by_epoch},
            visualizer={"type": "Visualizer", "name": name, "vis_backends": [{"type": "LocalVisBackend"}]},
            experiment_name=name,
            log_level="ERROR",
        ).train()
        (place / name).mkdir(exist_ok=True)
        for file in (place / "work").glob("*/vis_data/*.json"):
            shutil.move(file, place / name / file.name)
        shutil.rmtree(place / "work")


def transformers(place: Path) -> None:
    """The trainer's state and event files of a training that is evaluated before it, and twice in each epoch."""
    import torch
    from transformers import Trainer, TrainingArguments

    class Model(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = torch.nn.Linear(3, 1)

        def forward(self, x: Any, labels: Any) -> dict[str, Any]:
            out = self.layer(x)[:, 0]
            return {"loss": (out - labels).square().mean(), "logits": out}

    torch.manual_seed(0)
    data = [{"x": row, "labels": row.sum()} for row in torch.rand(32, 3)]
    os.environ["TENSORBOARD_LOGGING_DIR"] = str(place / "transformers" / "runs")
    arguments = TrainingArguments(
        output_dir=str(place / "transformers"),
        num_train_epochs=2,
        per_device_train_batch_size=8,
        learning_rate=1e-2,
        eval_strategy="steps",
        eval_steps=2,
        eval_on_start=True,
        save_steps=8,
        logging_steps=1,
        metric_for_best_model="eval_loss",
        report_to=["tensorboard"],
        disable_tqdm=True,
        use_cpu=True,
    )
    Trainer(Model(), arguments, train_dataset=data, eval_dataset=data).train()
    for file in (place / "transformers").glob("checkpoint-*/*"):
        if file.name != "trainer_state.json":
            file.unlink()


def main(place: Path, *names: str) -> None:
    """Make the logs of some libraries, or of all."""
    place.mkdir(parents=True, exist_ok=True)
    warnings.simplefilter("ignore")
    for make in (lightning, mmengine, transformers):
        if make.__name__ in names or not names:
            make(place)


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
