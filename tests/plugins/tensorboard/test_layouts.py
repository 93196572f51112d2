"""The laws of the layouts, and of what TensorBoard shows beside curves, as its own reader and plugins see it."""

import json
import sys
import warnings
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tensorboard.backend.event_processing.data_provider import MultiplexerDataProvider
from tensorboard.backend.event_processing.plugin_event_multiplexer import EventMultiplexer
from tensorboard.plugins import base_plugin
from tensorboard.plugins.custom_scalar import layout_pb2
from tensorboard.plugins.hparams import metadata as hparams_metadata
from tensorboard.plugins.projector import projector_plugin
from werkzeug.test import Client

from tests.reliability.resuming import TRAININGS
from trainbus import MissingDependency, Run, SettingsError
from trainbus.adapters.keras.subject import KerasSubject
from trainbus.adapters.torch import TorchSubject
from trainbus.plugins import EarlyStopping, ModelCheckpoint, ReduceLROnPlateau, TensorBoard
from trainbus.plugins.tensorboard.layouts import LAYOUTS
from trainbus.testing import EventRecorder, LineSubject

from ..event_readers import read, scalars

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from tensorboard.plugins.custom_scalar.custom_scalars_plugin import CustomScalarsPlugin

NAMES = st.text(st.sampled_from("abval_/eptrinschkg"), min_size=1, max_size=12) | st.sampled_from(
    ["loss", "val_loss", "learning_rate", "learning_rate/body", "loss_step", "loss_epoch", "epoch", "val_val_loss"]
)


@given(st.sets(NAMES, min_size=1), st.sampled_from(sorted(LAYOUTS)))
def test_no_two_series_share_a_place(names: set[str], layout: Any):
    """Whatever metrics are called, each series has a run and tag of its own, the same in every run."""
    chosen = LAYOUTS[layout]
    places = [tuple(chosen.of_epoch(name)) for name in names]
    places += [(chosen.main, tag) for name in names if (tag := chosen.of_batch(name)) is not None]
    if chosen.iterations is not None:
        bare = {name.removeprefix("val_") for name in names if name.startswith("val_")}
        places += [(chosen.validation, chosen.iterations.format(name)) for name in bare]
    else:
        places.append((chosen.main, "epoch"))
    assert len(set(places)) == len(places)
    assert {run for run, _ in places} <= set(chosen.runs)


def expected(layout: str, told: EventRecorder) -> dict[tuple[str, str, int], float]:
    """Where each value belongs, written down anew."""
    found: dict[tuple[str, str, int], float] = {}
    for epoch, step, metrics in told.of("on_epoch_end", "epoch", "step", "metrics"):
        for name, value in metrics.items():
            bare, rate = name.removeprefix("val_"), name.startswith("learning_rate")
            if layout == "keras":
                found["validation" if bare != name else "train", f"epoch_{bare}", epoch] = value
            elif layout == "lightning":
                found[".", name if bare != name or rate else f"{name}_epoch", step] = value
            else:
                found[".", name if rate else f"{bare}/{'val' if bare != name else 'train'}", step] = value
        if layout != "keras":
            found[".", "epoch", step] = epoch
    for step, metrics in told.of("on_batch_end", "step", "metrics"):
        for name, value in metrics.items():
            tag = {"keras": f"batch_{name}", "lightning": f"{name}_step", "slash": f"{name}/batch"}[layout]
            if not name.startswith("val_"):
                found["train" if layout == "keras" else ".", tag, step] = value
    for step, metrics in told.of("on_validation_end", "step", "metrics") if layout == "keras" else ():
        for name, value in metrics.items():
            found["validation", f"evaluation_{name.removeprefix('val_')}_vs_iterations", step] = value
    return found


@pytest.mark.parametrize("layout", sorted(LAYOUTS))
@pytest.mark.parametrize("name", ["torch", "keras", "sgd"])
def test_every_value_of_a_training_stands_where_the_layout_has_it(name: str, layout: Any):
    """On every framework exactly what was told is there, with steps that only rise."""
    told = EventRecorder("on_batch_end", "on_validation_end", "on_epoch_end")
    rates = ReduceLROnPlateau(monitor="val_score", mode="min", patience=2, factor=0.5)
    run = TRAININGS[name]([TensorBoard("logs", layout=layout, update_freq="batch"), rates, told], None)
    assert told.names.count("on_epoch_end") == run.result.epochs
    found = {key: value for key, value in scalars().items() if not key[1].startswith("training_decisions/")}
    assert found == {key: np.float32(value) for key, value in expected(layout, told).items()}
    for reader in read().values():
        for tag in reader.Tags()["scalars"]:
            steps = [event.step for event in reader.Scalars(tag)]
            assert steps == sorted(set(steps))


def test_without_batches_the_flat_layouts_count_epochs():
    """A loop that tells of no batches gets a step for each epoch."""
    with Run(None, TensorBoard("logs", layout="slash")) as run:
        for epoch in run.epochs(4):
            run.log(loss=float(epoch))
    assert [scalars()[".", "loss/train", epoch] for epoch in range(4)] == [0.0, 1.0, 2.0, 3.0]


def short(callback: TensorBoard, *others: Any, subject: Any = None) -> Run:
    """Four epochs of three batches."""
    with Run(subject, [callback, *others]) as run:
        for epoch in run.epochs(4):
            for _ in run.batches(range(3)):
                run.log(loss=1.0)
            if epoch % 2:
                with run.validation():
                    run.log(loss=2.0)
    return run


@pytest.mark.parametrize("layout", ["lightning", "slash"])
def test_custom_scalars_draw_training_over_validation(layout: Any):
    """Each metric has a chart of exactly its two series, also where the validation comes later than the chart."""
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
def test_a_metric_that_comes_later_has_a_chart_too(layout: Any):
    """TensorBoard's own plugin shows a chart of each metric, also of one that only the second epoch validates."""
    with Run(None, TensorBoard("logs", layout=layout)) as run:
        for epoch in run.epochs(2):
            run.log(loss=1.0)
            if epoch == 1:
                with run.validation():
                    run.log(accuracy=2.0)
    found = json.loads(client_of(CustomScalarsPlugin).get("/layout").data)
    assert [chart["title"] for category in found["category"] for chart in category["chart"]] == ["loss", "accuracy"]


def test_decisions_stand_on_the_axis_and_in_a_table():
    """In each epoch from its first on, a kind of decision shows how often it fell; the last table has them all."""
    rates = ReduceLROnPlateau(monitor="loss", patience=1, factor=0.5)
    stopping = EarlyStopping(monitor="loss", patience=3, restore_best_weights=True)
    short(TensorBoard("logs"), rates, stopping, subject=LineSubject())
    assert min(tag for _, tag, _ in scalars()) == "epoch_learning_rate"  # on the page metrics come first
    marks = {key[1:]: value for key, value in scalars().items() if key[1].startswith("training_decisions/")}
    assert marks == {
        ("training_decisions/kept_in_memory", 0): 1.0,
        ("training_decisions/kept_in_memory", 1): 0.0,
        ("training_decisions/kept_in_memory", 2): 0.0,
        ("training_decisions/kept_in_memory", 3): 0.0,
        ("training_decisions/learning_rate_cut", 1): 1.0,
        ("training_decisions/learning_rate_cut", 2): 1.0,
        ("training_decisions/learning_rate_cut", 3): 1.0,
        ("training_decisions/stop", 3): 1.0,
        ("training_decisions/restored", 3): 1.0,
    }
    texts = [event.tensor_proto.string_val[0].decode() for event in read()["train"].Tensors("decisions")]
    lines = texts[-1].splitlines()
    assert lines[0] == "| epoch | decision | of | reason | asked for by |"
    assert len(lines) == 2 + 6
    assert lines[-1].startswith("| 4 | restored | best loss |")
    assert sorted(line for text in texts[:-1] for line in text.splitlines()[2:]) == sorted(lines[2:])


@pytest.mark.parametrize("layout", sorted(LAYOUTS))
@pytest.mark.parametrize(("epochs", "batches"), [(0, 1), (0, 2), (2, 0), (2, 1)])
def test_what_is_decided_in_an_epoch_that_never_ends_stands_on_the_axis_too(epochs: int, batches: int, layout: Any):
    """Whenever a run is interrupted, every decision is counted, and no series and no text goes back."""
    saves = ModelCheckpoint("{step}.npz", save_freq=1)
    with pytest.raises(KeyboardInterrupt), Run(LineSubject(), [TensorBoard("logs", layout=layout), saves]) as run:
        for epoch in run.epochs(3):
            for batch in run.batches(range(3)):
                if (epoch, batch) == (epochs, batches):
                    raise KeyboardInterrupt
            run.log(loss=1.0)
    reader = read()[LAYOUTS[layout].main]
    tags = reader.Tags()
    (marker,) = [tag for tag in tags["scalars"] if tag.endswith("decisions/checkpoint")]
    assert sum(each.value for each in reader.Scalars(marker)) == 3 * epochs + batches
    for events in [*map(reader.Scalars, tags["scalars"]), *map(reader.Tensors, tags["tensors"])]:
        steps = [each.step for each in events]
        assert steps == sorted(steps)
    rows = reader.Tensors("decisions")[-1].tensor_proto.string_val[0].decode().splitlines()[2:]
    assert len(rows) == 3 * epochs + batches


def test_settings_and_environment_are_texts():
    """The options of every callback and the versions of what is imported can be read."""
    short(TensorBoard("logs", update_freq=7))
    reader = read()["train"]
    settings, environment = (
        reader.Tensors(tag)[0].tensor_proto.string_val[0].decode() for tag in ("settings", "environment")
    )
    assert "| TensorBoard | update\\_freq | 7 |" in settings
    assert f"| numpy | {np.__version__} |" in environment
    assert reader.SummaryMetadata("settings").plugin_data.plugin_name == "text"


@pytest.mark.parametrize("layout", sorted(LAYOUTS))
def test_hyperparameters_come_with_what_the_run_came_to(layout: Any):
    """The page of hyperparameters has the settings, the final metrics and the end, in the runs that are there."""
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
def test_the_table_of_hyperparameters_has_each_metric_as_it_was_last(epochs: int):
    """Also those of a validation that comes every second epoch only, whether or not it comes in the last one."""
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


class Words:
    """A table of embeddings and a matrix that is none."""

    def __init__(self) -> None:
        self.table = np.arange(12, dtype="float32").reshape(4, 3) / 7

    def weights(self):
        return [("words/table", self.table), ("dense/kernel", np.ones((2, 2), "float32"))]


def client_of(kind: Any) -> Client:
    """One of TensorBoard's own plugins over the directory."""
    multiplexer = EventMultiplexer().AddRunsFromDirectory("logs")
    multiplexer.Reload()
    provider = MultiplexerDataProvider(multiplexer, "logs")
    context = base_plugin.TBContext(logdir=str(Path("logs").absolute()), data_provider=provider)
    plugin = kind(context)

    def serve(environ: Any, start_response: Any) -> Any:
        return plugin.get_plugin_apps()[environ["PATH_INFO"]](environ, start_response)

    return Client(serve)


def projector() -> Client:
    """The projector."""
    return client_of(projector_plugin.ProjectorPlugin)


@pytest.mark.parametrize("layout", sorted(LAYOUTS))
def test_the_projector_shows_embeddings_with_their_labels(layout: Any):
    """TensorBoard's projector serves the table as it was when it was last looked at, to the bit, and its labels."""
    Path("labels.tsv").write_text("one\ntwo\nthree\nfour\n")
    subject, main = Words(), LAYOUTS[layout].main
    callback = TensorBoard(
        "logs",
        layout=layout,
        embeddings_freq=2,
        embeddings_layer_names=["words"],
        embeddings_metadata={"words": "labels.tsv"},
    )
    with Run(subject, callback) as run:
        tables: list[Any] = []
        for _ in run.epochs(4):
            subject.table += 1
            tables.append(subject.table.copy())
            run.log(loss=1.0)
    client = projector()
    assert main in json.loads(client.get("/runs").data)
    (info,) = json.loads(client.get("/info", query_string={"run": main}).data)["embeddings"]
    assert (info["tensorName"], info["tensorShape"]) == ("words/table", [4, 3])
    asked = {"run": main, "name": "words/table"}
    shown = np.frombuffer(client.get("/tensor", query_string={**asked, "num_rows": 100}).data, "float32")
    np.testing.assert_array_equal(shown.reshape(4, 3), tables[2])
    assert client.get("/metadata", query_string={**asked, "num_rows": 100}).data == Path("labels.tsv").read_bytes()


@pytest.mark.parametrize("framework", ["torch", "keras"])
def test_embeddings_are_found_by_themselves(framework: str):
    """Without names of layers, the tables of all embedding layers are shown, wherever in the model they are."""
    if framework == "torch":
        inner = torch.nn.Sequential(torch.nn.Embedding(5, 2), torch.nn.Linear(2, 3))
        subject: Any = TorchSubject(torch.nn.Sequential(inner, torch.nn.EmbeddingBag(4, 3)))
        shapes = [[5, 2], [4, 3]]
    else:
        layers = [keras.layers.Embedding(5, 2), keras.layers.Dense(3), keras.layers.Flatten(), keras.layers.Dense(1)]
        subject, shapes = KerasSubject(keras.Sequential([keras.Input((3,)), *layers])), [[5, 2]]
    with Run(subject, TensorBoard("logs", embeddings_freq=1)) as run:
        for _ in run.epochs(1):
            run.log(loss=1.0)
    found = json.loads(projector().get("/info", query_string={"run": "train"}).data)["embeddings"]
    assert [each["tensorShape"] for each in found] == shapes


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({}, "no embedding; name layers in embeddings_layer_names; tables: 'words/table', 'dense/kernel'"),
        ({"embeddings_layer_names": ["word"]}, "'word' has no table of rows; did you mean 'words'"),
        ({"embeddings_layer_names": ["words"], "embeddings_metadata": "labels.tsv"}, "no such file: .*labels.tsv"),
        ({"embeddings_layer_names": ["words"], "embeddings_metadata": {"word": __file__}}, "did you mean 'words'"),
    ],
)
def test_wrong_embeddings_are_refused_before_training(wrong: dict[str, Any], message: str):
    """A layer or a file that is not there is named, and the directory stays free for the next run."""
    for _ in range(2):
        with pytest.raises(SettingsError, match=message):
            Run(Words(), TensorBoard("logs", embeddings_freq=1, **wrong)).begin()
    short(TensorBoard("logs"))


@pytest.mark.parametrize(
    ("labels", "fault"),
    [
        ("one\ntwo\nthree\nfour\n", None),
        ("one\r\ntwo\r\nthree\r\nfour", None),
        ("name\tlength\none\t3\ntwo\t3\nthree\t5\nfour\t4\n", None),
        ("one\ntwo\nthree\n", "has 3 labels, 'words/table' has 4 rows"),
        ("one\n\nthree\nfour\n", "has 3 labels.* a line that is not empty for each row"),
        ("name\none\ntwo\nthree\nfour\n", "has 5 labels.* with one column, without a heading"),
        ("one\t3\ntwo\t3\nthree\t5\nfour\t4\n", "has 3 labels.* with several columns, after a line of their names"),
        ("", "has 0 labels"),
    ],
)
def test_labels_that_the_projector_would_not_take_are_refused_before_training(labels: str, fault: str | None):
    """It wants one for each row, passes over empty lines, and takes a heading where there are several columns."""
    Path("labels.tsv").write_bytes(labels.encode())
    words = {"embeddings_layer_names": ["words"], "embeddings_metadata": "labels.tsv"}
    callback = TensorBoard("logs", embeddings_freq=1, **words)
    if fault is None:
        with Run(Words(), callback) as run:
            list(run.epochs(1))
        return
    with pytest.raises(SettingsError, match=fault):
        Run(Words(), callback).begin()


def test_speed_is_written_where_it_is_asked_for():
    """Weight updates a second, per epoch and per batch, are there and above 0; otherwise they are not."""
    short(TensorBoard("logs", write_steps_per_second=True, update_freq="batch"))
    short(TensorBoard("plain", update_freq="batch"))
    for tag, steps in (("epoch_steps_per_second", range(4)), ("batch_steps_per_second", range(1, 13))):
        assert all(scalars()["train", tag, step] > 0 for step in steps)
    assert not any("per_second" in tag for _, tag, _ in scalars("plain"))


def test_the_profiler_sees_the_updates_that_were_asked_for():
    """One trace is written, of the operations between the two weight updates and no others."""
    with Run(None, TensorBoard("logs", profile="3:4")) as run:
        for _ in run.epochs(2):
            for batch in run.batches(range(4)):
                torch.ones(2 + batch, 7) @ torch.ones(7, 3)
    (trace,) = Path("logs/train").glob("*.pt.trace.json")
    events = json.loads(trace.read_text())["traceEvents"]
    shapes = {str(event["args"]["Input Dims"]) for event in events if event.get("name") == "aten::mm"}
    assert shapes == {"[[4, 7], [7, 3]]", "[[5, 7], [7, 3]]"}
    assert not any(tag.startswith("batch_") for _, tag, _ in scalars())


def test_a_profile_of_the_users_own_goes_on():
    """A process has one profiler: where it is taken, the run does without, and says so."""
    with torch.profiler.profile() as own, Run(None, TensorBoard("logs", profile="1:2")) as run:
        for _ in run.epochs(1):
            for _ in run.batches(range(3)):
                torch.ones(2, 7) @ torch.ones(7, 3)
    (failure,) = run.failures
    assert str(failure).startswith("TensorBoard: no profile: RuntimeError: PyTorch's profiler is running already")
    assert sum(each.name == "aten::mm" for each in own.events()) == 3
    assert not list(Path("logs").rglob("*.pt.trace.json"))


def test_a_profile_without_pytorch_is_refused_with_the_command(monkeypatch: pytest.MonkeyPatch):
    """Where PyTorch is not installed, the run ends before anything is trained, and says what to install."""
    monkeypatch.delitem(sys.modules, "trainbus.plugins.tensorboard.profiler", raising=False)
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(MissingDependency, match="pip install torch"):
        Run(None, TensorBoard("logs", profile="3:4")).begin()
