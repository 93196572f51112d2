"""Tests of embeddings, as TensorBoard's projector shows them."""

import json
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import torch
from tensorboard.plugins.projector import projector_plugin
from werkzeug.test import Client

from trainbus import Run, SettingsError
from trainbus.adapters.keras.subject import KerasSubject
from trainbus.adapters.torch import TorchSubject
from trainbus.plugins import TensorBoard
from trainbus.plugins.tensorboard.layouts import LAYOUTS

from .runs import client_of, short


class Words:
    """A table of embeddings and a matrix that is none."""

    def __init__(self) -> None:
        self.table = np.arange(12, dtype="float32").reshape(4, 3) / 7

    def weights(self):
        return [("words/table", self.table), ("dense/kernel", np.ones((2, 2), "float32"))]


def projector() -> Client:
    """The projector."""
    return client_of(projector_plugin.ProjectorPlugin)


@pytest.mark.parametrize("layout", sorted(LAYOUTS))
def test_the_projector_shows_embeddings_with_their_labels(layout: Any):
    """TensorBoard's projector serves exactly the table of the last epoch that was due, and its labels."""
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
def test_embeddings_are_found_without_names(framework: str):
    """Without names of layers, the tables of all embedding layers are shown, at any depth in the model."""
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
def test_wrong_embeddings_are_rejected_before_training(wrong: dict[str, Any], message: str):
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
def test_labels_that_the_projector_cannot_read_are_rejected_before_training(labels: str, fault: str | None):
    """It needs one label for each row, skips empty lines, and expects a heading if there are several columns."""
    Path("labels.tsv").write_bytes(labels.encode())
    words = {"embeddings_layer_names": ["words"], "embeddings_metadata": "labels.tsv"}
    callback = TensorBoard("logs", embeddings_freq=1, **words)
    if fault is None:
        with Run(Words(), callback) as run:
            list(run.epochs(1))
        return
    with pytest.raises(SettingsError, match=fault):
        Run(Words(), callback).begin()
