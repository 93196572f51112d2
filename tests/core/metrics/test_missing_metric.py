"""The message for a missing metric names the nearest name, or what the user of this loop or adapter writes."""

import pytest

from trainbus.metrics.missing_metric import MetricAdvice, explain_missing

ADVICE = MetricAdvice("call validate()", "call log({name!r})")


@pytest.mark.parametrize(
    ("name", "metrics", "validated", "rest"),
    [
        ("val_loss", ["loss"], False, "; there was no validation in this epoch: call validate(); logged: loss"),
        ("val_acuracy", ["loss", "accuracy"], False, "; did you mean 'val_accuracy'? there was no validation in "),
        ("val_belu", [], False, "; did you mean 'val_bleu'? there was no validation in this epoch: "),
        ("valid/acc", ["accuracy"], False, "; there was no validation in this epoch: "),
        ("val_fid", ["loss"], True, "; call log('val_fid'); logged: loss"),
        ("fid", [], False, "; call log('fid'); logged: nothing"),
        ("los", ["loss"], False, "; did you mean 'loss'? logged: loss"),
        ("loss", ["val_loss"], True, "; call log('loss'); or did you mean 'val_loss'? logged: val_loss"),
        ("train_loss", ["loss", "val_loss"], True, "; did you mean 'loss'? logged: loss, val_loss"),
        ("train/loss", ["val/loss"], True, "; call log('train/loss'); or did you mean 'val/loss'? logged: "),
        ("val_loss", ["train/loss"], False, "; there was no validation in this epoch: call validate(); logged: "),
        ("val_loss", ["train_loss", "trainLoss"], False, "; there was no validation in this epoch: call validate(); "),
        ("val_loss", ["train_loss"], True, "; call log('val_loss'); or did you mean 'train_loss'? logged: train_loss"),
        ("val_acuracy", ["train/accuracy"], False, "; did you mean 'val_accuracy'? there was no validation in "),
        ("val_los", ["los", "val_loss"], True, "; did you mean 'val_loss'? logged: los, val_loss"),
    ],
)
def test_the_advice_is_that_of_the_loop(name: str, metrics: list[str], validated: bool, rest: str) -> None:
    """A near miss is named even if the validation that would log the metric did not take place."""
    assert explain_missing(name, metrics, ADVICE, validated=validated).startswith(f"{name!r} is not logged{rest}")
