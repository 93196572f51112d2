"""Tests of the pages for custom scalars and hyperparameters, as TensorBoard's own plugins show them."""

import json
import warnings
from typing import Any

import pytest
from tensorboard.plugins.custom_scalar import layout_pb2
from tensorboard.plugins.hparams import metadata as hparams_metadata

from trainbus import Run
from trainbus.plugins import TensorBoard
from trainbus.plugins.tensorboard.layouts import LAYOUTS

from ...event_readers import read, scalars
from ..runs import client_of, short

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from tensorboard.plugins.custom_scalar.custom_scalars_plugin import CustomScalarsPlugin


@pytest.mark.parametrize("layout", ["lightning", "slash"])
def test_custom_scalars_draw_training_over_validation(layout: Any):
    """Each metric has a chart of exactly its two series, even if it is validated after the chart was written."""
    short(TensorBoard("logs", layout=layout))
    reader = read()["."]
    (event,) = reader.Tensors("custom_scalars__config__")
    found = layout_pb2.Layout.FromString(event.tensor_proto.string_val[0])
    (chart,) = found.category[0].chart
    assert chart.title == "loss"
    tags = {"lightning": ["loss_epoch", "val_loss"], "slash": ["loss/train", "loss/val"]}[layout]
    assert [tag.strip("^$") for tag in chart.multiline.tag] == tags
    assert set(tags) <= set(reader.Tags()["scalars"])


@pytest.mark.parametrize("layout", ["lightning", "slash"])
def test_a_metric_that_appears_later_has_a_chart(layout: Any):
    """TensorBoard's own plugin shows a chart of each metric, also of one that only the second epoch validates."""
    with Run(None, TensorBoard("logs", layout=layout)) as run:
        for epoch in run.epochs(2):
            run.log(loss=1.0)
            if epoch == 1:
                with run.validation():
                    run.log(accuracy=2.0)
    found = json.loads(client_of(CustomScalarsPlugin).get("/layout").data)
    assert [chart["title"] for category in found["category"] for chart in category["chart"]] == ["loss", "accuracy"]


@pytest.mark.parametrize("layout", sorted(LAYOUTS))
def test_hyperparameters_have_the_final_metrics(layout: Any):
    """The page of hyperparameters has the settings, the final metrics and the status, in the main run."""
    hparams = {"lr": 0.5, "depth": 3, "name": "a", "wide": True}
    short(TensorBoard("logs", layout=layout, hparams=hparams))
    main = LAYOUTS[layout].main
    assert set(read()) == set(LAYOUTS[layout].runs)
    reader = read()[main]
    content = {tag: reader.SummaryMetadata(tag).plugin_data.content for tag in map("_hparams_/{}".format, PARTS)}
    experiment = hparams_metadata.parse_experiment_plugin_data(content[f"_hparams_/{PARTS[0]}"])
    start = hparams_metadata.parse_session_start_info_plugin_data(content[f"_hparams_/{PARTS[1]}"])
    end = hparams_metadata.parse_session_end_info_plugin_data(content[f"_hparams_/{PARTS[2]}"])
    assert {info.name for info in experiment.hparam_infos} == set(hparams)
    kinds = {"lr": "number_value", "depth": "number_value", "name": "string_value", "wide": "bool_value"}
    assert {name: getattr(start.hparams[name], kind) for name, kind in kinds.items()} == hparams
    for info in experiment.metric_infos:
        assert scalars()[main, info.name.tag, reader.Scalars(info.name.tag)[0].step] in (1.0, 2.0)
    assert "hparam/loss" in {info.name.tag for info in experiment.metric_infos}
    assert end.status == 1


@pytest.mark.parametrize("epochs", [1, 2, 3])
def test_the_table_of_hyperparameters_has_the_last_value_of_each_metric(epochs: int):
    """A metric of a validation in some epochs has its last value, too, whether or not the last epoch was validated."""
    with Run(None, TensorBoard("logs", hparams={"lr": 0.5})) as run:
        for epoch in run.epochs(epochs):
            run.log(loss=float(epoch))
            if epoch == 1:
                with run.validation():
                    run.log(loss=10.0)
    content = read()["train"].SummaryMetadata("_hparams_/experiment").plugin_data.content
    experiment = hparams_metadata.parse_experiment_plugin_data(content)
    values = {tag: value for (_, tag, _), value in scalars().items() if tag.startswith("hparam/")}
    assert values == {"hparam/loss": epochs - 1.0, **({"hparam/val_loss": 10.0} if epochs > 1 else {})}
    assert {info.name.tag for info in experiment.metric_infos} == set(values)


PARTS = ("experiment", "session_start_info", "session_end_info")
