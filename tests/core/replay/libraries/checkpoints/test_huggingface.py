"""Checkpoints of Hugging Face's own Trainer, on the same curves."""

from __future__ import annotations

from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any

import pytest

from trainbus.plugins import EarlyStopping, ModelCheckpoint
from trainbus.replay import replay
from trainbus.replay.libraries.checkpoints.huggingface import HuggingFaceCheckpoints

from ...random_curves import SEEDS, random_curve, random_options
from ...recorded import History, recording


class Trainer(SimpleNamespace):
    """What the Trainer's own methods of choosing and saving need; a checkpoint holds the number of its evaluation."""

    def _get_output_dir(self, trial: None) -> str:
        return str(self.folder)

    def save_model(self, output_dir: str, _internal_call: bool) -> None:
        Path(output_dir).mkdir()
        (Path(output_dir) / "evaluation").write_text(str(self.state.global_step - 1))

    def store_flos(self) -> None:
        """Count no operations."""


def in_transformers(history: History, options: dict[str, Any], folder: Path) -> str | None:
    """Run the Trainer's own methods; return the best checkpoint."""
    transformers = pytest.importorskip("transformers", reason="needs trainbus[test-bindings]")
    state = SimpleNamespace(
        best_metric=None, best_global_step=None, best_model_checkpoint=None, global_step=0, stateful_callbacks={}
    )
    state.save_to_json = lambda path: None
    args = SimpleNamespace(
        metric_for_best_model="loss" if options["compared"] else None,
        greater_is_better=options["mode"] == "max",
        save_strategy=transformers.trainer_utils.SaveStrategy(options["save_strategy"]),
        save_total_limit=options["save_total_limit"],
        save_only_model=True,
        should_save=True,
        push_to_hub=False,
        parallel_mode=None,
    )
    handler = SimpleNamespace(callbacks=[])
    trainer = Trainer(
        args=args, state=state, folder=folder, hp_search_backend=None, callback_handler=handler, control=None
    )
    for number, value in enumerate(history):
        state.global_step = number + 1
        improved = False
        if value is not None:
            improved = transformers.Trainer._determine_best_metric(trainer, {"eval_loss": value}, None)
        if options["save_strategy"] == "epoch" or (options["save_strategy"] == "best" and improved):
            transformers.Trainer._save_checkpoint(trainer, None, None)
    best: str | None = state.best_model_checkpoint
    return best


@pytest.mark.parametrize("seeds", SEEDS)
def test_the_checkpoints_of_transformers_on_random_curves(seeds: range, tmp_path: Path) -> None:
    """The same directories remain, and the best one is the same."""
    for seed in seeds:
        random = Random(seed)
        choices: dict[str, list[Any]] = {"mode": ["min", "max"], "save_strategy": ["best", "epoch", "no"]}
        choices |= {"save_total_limit": [None, 0, 1, 2, 3], "compared": [True, True, False]}
        history, options = random_curve(random), random_options(random, choices)
        options["compared"] |= options["save_strategy"] == "best"
        folder = tmp_path / str(seed)
        folder.mkdir()
        best = in_transformers(history, options, folder)
        directories = {path.name: int((path / "evaluation").read_text()) for path in folder.iterdir()}

        compared = {"monitor": "val_loss"} if options.pop("compared") else {}
        (found,) = replay([recording(history)], HuggingFaceCheckpoints(**compared, **options), by="hf").outcomes
        assert {each.path: each.epoch for each in found.files} == directories, (seed, options)
        assert [each.path for each in found.files if each.best] == ([Path(best).name] if best else []), (seed, options)


def test_at_a_stop_only_the_best_checkpoint_remains_of_one_and_is_loaded() -> None:
    """With save_total_limit=1 the last checkpoint is removed when the training ends."""
    callbacks = [
        EarlyStopping(patience=2),
        HuggingFaceCheckpoints(save_strategy="epoch", save_total_limit=1, load_best_model_at_end=True),
    ]
    (found,) = replay([recording([3.0, 2.0, 2.5, 2.6, 1.0])], callbacks, by="hf").outcomes

    assert [(each.path, each.epoch, each.best) for each in found.files] == [("checkpoint-2", 1, True)]
    assert [each.of for each in found.decisions if each.action == "restore"] == [1]


def test_options_of_trainbus_are_those_of_the_trainer() -> None:
    """A file for the best model is save_strategy="best", and early stopping alone protects the best checkpoint."""
    run = recording([3.0, 2.0, 2.5, 2.6])

    (found,) = replay([run], ModelCheckpoint("best", save_best_only=True), by="hf").outcomes
    assert [each.path for each in found.files] == ["checkpoint-1", "checkpoint-2"]
    callbacks = [EarlyStopping(patience=2), HuggingFaceCheckpoints(save_strategy="epoch", save_total_limit=2)]
    (found,) = replay([run], callbacks, by="hf").outcomes
    assert [each.path for each in found.files] == ["checkpoint-2", "checkpoint-4"]
    result = replay([run], HuggingFaceCheckpoints(), by="hf")
    assert "counts steps, which are not recorded" in " ".join(result.notes)
