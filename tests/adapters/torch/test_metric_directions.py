"""Directions of metrics, from torchmetrics' objects."""

import pytest
from torch import nn
from torchmetrics import MetricCollection, classification, clustering, regression

from trainbus import Run, UnknownDirection
from trainbus.adapters.torch import TorchSubject
from trainbus.capabilities import HasDirections, missing
from trainbus.plugins import EarlyStopping

from .trainings import tiny


class Scored(nn.Module):
    """A model with metric objects."""

    def __init__(self, **metrics: nn.Module) -> None:
        super().__init__()
        for name, metric in metrics.items():
            self.add_module(name, metric)


def test_directions_of_metric_objects() -> None:
    """A metric object gives its direction under its attribute's name; a wrong or missing flag gives none."""
    subject = TorchSubject(
        Scored(
            my_quality=regression.MeanSquaredError(),
            val_zeal=classification.BinaryAccuracy(),
            shape=clustering.DaviesBouldinScore(),
            spread=regression.PearsonCorrCoef(),
            collection=MetricCollection({"inner": classification.BinaryF1Score()}),
        )
    )
    wanted = {"my_quality": "min", "val_my_quality": "min", "val_zeal": "max", "shape": None, "spread": None}
    assert {name: subject.direction_of(name) for name in wanted} == wanted
    assert subject.direction_of("val_inner") == "max"
    with Run(subject, EarlyStopping(monitor="val_my_quality", patience=3)) as run:
        for epoch in run.epochs(2):
            run.log(val_my_quality=float(epoch))

    assert run.result.best["val_my_quality"].epoch == 0


def test_without_metric_objects_an_unclear_direction_is_refused_before_training() -> None:
    """Only the name could give a direction, so the error does not wait for the first epoch."""
    subject = TorchSubject(tiny())
    assert missing(subject, HasDirections)
    with pytest.raises(UnknownDirection, match="mode="):
        Run(subject, EarlyStopping(monitor="my_thing"))
