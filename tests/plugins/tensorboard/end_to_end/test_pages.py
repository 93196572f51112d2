"""Pages of a real TensorBoard, in a real browser, for runs of three frameworks, used as a user does."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
import torch

from trainbus import Run
from trainbus.adapters.torch import TorchSubject
from trainbus.plugins import ReduceLROnPlateau, TensorBoard

from ...trainings import TRAININGS
from .browser import Browser, browser, needs_browser
from .test_server import server

pytestmark = needs_browser

LABELS = ("red", "green", "blue", "white", "black")


@pytest.fixture(scope="module")
def logs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a directory with a complete run of each framework, and one with embeddings in a flat layout."""
    folder = tmp_path_factory.mktemp("logs")
    for name, train in TRAININGS.items():
        rates = ReduceLROnPlateau(monitor="loss", mode="min", patience=1, min_delta=100)
        charts = TensorBoard(folder / name, histogram_freq=1, hparams={"framework": name, "depth": 2})
        train([charts, rates])
    (folder / "labels.tsv").write_text("\n".join(LABELS) + "\n")
    words = TensorBoard(
        folder / "words", layout="slash", embeddings_freq=1, embeddings_metadata=str(folder / "labels.tsv")
    )
    with Run(TorchSubject(torch.nn.Sequential(torch.nn.Embedding(len(LABELS), 3))), words) as run:
        for _ in run.epochs(3):
            run.log(loss=1.0)
            with run.validation():
                run.log(loss=2.0)
    return folder


@pytest.fixture(scope="module")
def page(logs: Path) -> Iterator[Any]:
    """Yield a function that opens a page of the TensorBoard of the directory in a browser."""
    with server(str(logs)) as ask, browser() as shown:

        def open_page(name: str, **query: str) -> Browser:
            shown.open(f"{ask.address}?{urlencode({'darkMode': 'false', **query})}#{name}")
            return shown

        yield open_page


RUNS = [f"{name}/{part}" for name in TRAININGS for part in ("train", "validation")]


def test_scalars_are_drawn_training_over_validation(page: Any):
    """The chart of the loss has a line for each run of each framework, and decisions have charts of their own."""
    shown = page("scalars&tagFilter=epoch_loss|decisions")
    shown.until("words('tf-card-heading').filter(each => each.includes('epoch_loss')).length")
    for run in RUNS:
        assert run in shown.run("text(document.body)")
    shown.until("words('tf-card-heading').filter(each => each.includes('training_decisions/learning_rate_cut')).length")
    shown.until("deep('vz-line-chart2, vz-line-chart').length")


@pytest.mark.exhaustive
@pytest.mark.parametrize("name", ["histograms", "distributions"])
def test_histograms_and_distributions_are_drawn(name: str, page: Any):
    """Weights and activations have cards, in which something is drawn."""
    drawn = {
        "histograms": "vz-histogram-timeseries, tb-histogram, histogram-component",
        "distributions": "vz-distribution-chart",
    }[name]
    shown = page(f"{name}&tagFilter=first|hidden_1|^0/")
    shown.until(f"deep('{drawn}').length >= 6")
    shown.until("deep('path').filter(each => (each.getAttribute('d') || '').length > 100).length >= 6")
    tags = " ".join(shown.run("words('tf-card-heading')"))
    for tag in ("hidden_1/activation", "small/first/activation", "small/first/kernel/histogram", "0/activation"):
        assert tag in tags


@pytest.mark.exhaustive
def test_weights_are_images(page: Any):
    """Images are loaded, and have the size with which they were written."""
    shown = page("images&tagFilter=kernel|coefs_/0|0/weight")
    sizes = shown.until(
        "(all => all.length >= 3 && all.every(each => each.complete && each.naturalWidth) && "
        "all.map(each => [each.naturalWidth, each.naturalHeight]))(deep('img'))"
    )
    assert [256, 192] in sizes  # 8 x 6, enlarged 32 times


@pytest.mark.parametrize(
    ("run", "nodes"),
    [
        ("torch/train", {"input", "Sequential", "output"}),
        pytest.param("keras/train", {"rows", "first", "norm", "drop", "second"}, marks=pytest.mark.exhaustive),
        pytest.param("sklearn/train", {"input", "MLPClassifier"}, marks=pytest.mark.exhaustive),
    ],
)
def test_the_default_graph_is_that_of_the_model(run: str, nodes: set[str], page: Any):
    """Without a click beyond the choice of the run there is a graph, of the right nodes, connected."""
    shown = page("graphs")
    shown.until(f"words('paper-item').includes('{run}')")
    shown.run(f"deep('paper-item').find(each => each.textContent.trim() === '{run}').click()")
    wanted = json.dumps(sorted(nodes))
    shown.until(f"JSON.stringify(deep('g.node').map(each => each.dataset.name).sort()) === JSON.stringify({wanted})")
    assert shown.run("deep('g.edge').length") == len(nodes) - 1
    assert "Malformed" not in shown.run("text(document.body)")


@pytest.mark.exhaustive
def test_keras_has_a_conceptual_graph_too(page: Any):
    """The choice "Conceptual graph" draws the layers again."""
    shown = page("graphs")
    shown.until("words('paper-item').includes('keras')")
    shown.run("deep('paper-item').find(each => each.textContent.trim() === 'keras').click()")
    shown.until("deep('g.node').map(each => each.dataset.name).includes('small')")


@pytest.mark.exhaustive
def test_texts_are_tables(page: Any):
    """Settings, environment and decisions are rendered as tables, not as the characters that make them."""
    shown = page("text&tagFilter=settings|decisions")
    shown.until("words('tf-card-heading').filter(each => each.includes('decisions')).length")
    for cell in ("ReduceLROnPlateau", "learning rate cut", "histogram_freq"):
        shown.until(f"words('td').includes('{cell}')")
    assert not [each for each in shown.run("words('td')") if "|" in each]


@pytest.mark.exhaustive
def test_hyperparameters_are_a_table_of_runs(page: Any):
    """Each framework's run has a row with its settings and its results."""
    shown = page("hparams")
    for name in TRAININGS:
        shown.until(f"words('vaadin-grid-cell-content').includes('{name}/train')")
    cells = shown.run("words('vaadin-grid-cell-content')")
    assert {*TRAININGS, "hparam/val_loss"} <= set(cells)


@pytest.mark.exhaustive
def test_custom_scalars_draw_a_metric_once(page: Any):
    """In the flat layout one chart has both series."""
    shown = page("custom_scalars")
    shown.until("words('tf-card-heading').concat(words('*')).some(each => each === 'loss')")
    shown.until(
        "text(document.body).includes('loss/val (words)') && text(document.body).includes('loss/train (words)')"
    )


@pytest.mark.exhaustive
def test_the_projector_finds_the_table(page: Any):
    """It has the embedding as a tensor of its size, with its labels to choose from."""
    shown = page("projector")
    shown.until("/1 tensor found/.test(text(document.body)) && /0\\/weight\\s+5x3/.test(text(document.body))")


@pytest.mark.exhaustive
def test_time_series_show_every_kind(page: Any):
    """The page that a user sees first has cards of scalars, histograms and images."""
    shown = page("timeseries", tagFilter="epoch_loss|coefs_/0")
    for kind in ("scalar-card", "histogram-card", "image-card"):
        shown.until(f"deep('{kind}').length")
