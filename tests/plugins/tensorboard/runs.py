"""Short runs, and TensorBoard's own plugins over their files, shared by the tests of TensorBoard."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from tensorboard.backend.event_processing.data_provider import MultiplexerDataProvider
from tensorboard.backend.event_processing.plugin_event_multiplexer import EventMultiplexer
from tensorboard.plugins import base_plugin
from werkzeug.test import Client

from trainbus import Run
from trainbus.capabilities import Node
from trainbus.plugins import TensorBoard


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


class TorchLike:
    """A PyTorch model, presented as a subject with weights, two learning rates and a graph."""

    def __init__(self) -> None:
        torch.manual_seed(0)
        self.model = torch.nn.Sequential(torch.nn.Conv2d(1, 4, 3), torch.nn.Flatten(), torch.nn.Linear(16, 2))
        self.model.to(torch.bfloat16)

    def weights(self):
        return [
            (name.replace(".", "/"), value.detach().float().numpy()) for name, value in self.model.named_parameters()
        ]

    def learning_rates(self) -> Mapping[str, float]:
        return {"learning_rate/body": 0.5, "learning_rate/head": 0.25}

    def set_learning_rates(self, rates: Mapping[str, float]) -> None:
        raise NotImplementedError

    def graph(self) -> Sequence[Node]:
        names = ["input", *(name for name, _ in self.model.named_children())]
        return [
            Node(name, "Layer", tuple(names[i - 1 : i]), (("settings", f"größe {i}"),)) for i, name in enumerate(names)
        ]


def steps(reader: Any, kind: str) -> set[tuple[str, int]]:
    """Tag and step of everything of one kind in one run."""
    get = {"histograms": reader.Histograms, "images": reader.Images}[kind]
    return {(tag, event.step) for tag in reader.Tags()[kind] for event in get(tag)}


def train(callbacks: Any, epochs: int, batches: int, accumulate: int = 1, subject: object = None) -> Run:
    with Run(subject, callbacks) as run:
        for epoch in run.epochs(epochs):
            for batch in run.batches(range(batches), accumulate=accumulate):
                run.log(loss=float(epoch + batch))
            with run.validation():
                run.log(loss=0.5)
    return run
