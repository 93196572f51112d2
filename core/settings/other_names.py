"""Names of other libraries that users may expect, each with the trainbus equivalent."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from ..metrics.names import hint

ARGUMENTS: Final[Mapping[str, str]] = {
    **dict.fromkeys(["checkpoint", "ckpt_path", "restore", "resume_from", "resume_from_checkpoint"], "resume"),
    **dict.fromkeys(["handlers", "hooks", "listeners", "loggers", "plugins"], "callbacks"),
    **dict.fromkeys(["enable_progress_bar", "progress", "progress_bar", "quiet", "show_progress", "silent"], "verbose"),
    **dict.fromkeys(["eval_set", "test_data", "val_data", "valid_data", "validation"], "validation_data"),
    **dict.fromkeys(["max_epochs", "max_iter", "n_epochs", "num_epochs", "num_train_epochs"], "epochs"),
    **dict.fromkeys(["metric", "metrics", "scorer"], "scoring"),
}
"""Arguments of other libraries, each with the argument that it may mean."""

RUN: Final[Mapping[str, str]] = {
    "add_scalar": "run.log(name=value)",
    "best": "run.result.best",
    "best_score": "run.result.best",
    "current_epoch": "run.epoch",
    "epoch_end": "run.end_epoch()",
    "fire_event": "run.emit(event, name=value)",
    "fit": "a loop over run.epochs(n)",
    "global_step": "run.step",
    "learning_rates": "run.subject.learning_rates()",
    "load": "resume=path, or run.subject.load(path)",
    "load_checkpoint": "resume=path, or run.subject.load(path)",
    "log_dict": "run.log({name: value})",
    "log_epoch": "run.log(name=value) after the batches of an epoch, or run.end_epoch({name: value})",
    "log_metrics": "run.log({name: value})",
    "model": "run.subject.model",
    "optimizer": "run.subject.optimizers",
    "replace": "run.subject.replace(optimizer)",
    "report": "run.log(name=value)",
    "restore": "resume=path, or run.subject.load(path)",
    "save": "the callback ModelCheckpoint, or run.decide(trainbus.decision.save(path))",
    "save_checkpoint": "the callback ModelCheckpoint, or run.decide(trainbus.decision.save(path))",
    "should_stop": "run.stopped",
    "stop_training": "run.stop(reason)",
    "trigger": "run.emit(event, name=value)",
    "validate": "with run.validation():",
}


def no_attribute(owner: object, name: str, elsewhere: Mapping[str, str]) -> str:
    """Return the error message for a missing attribute, with a suggestion.

    Args:
        owner: The object.
        name: The name of the attribute.
        elsewhere: For names from other libraries, the code to write instead.

    >>> no_attribute([], "lenght", {"lenght": "len(...)"})
    "list has no 'lenght'; write len(...)"
    >>> no_attribute([], "appendd", {})
    "list has no 'appendd'; did you mean 'append'?"
    """
    known = [each for each in dir(owner) if not each.startswith("_")]
    right = f"; write {elsewhere[name]}" if name in elsewhere else hint(name, known)
    return f"{type(owner).__name__} has no {name!r}{right}"
