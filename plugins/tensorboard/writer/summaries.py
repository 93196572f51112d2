"""The contents of TensorBoard's pages, as messages of its event files."""

# pyright: reportMissingTypeStubs=false, reportAttributeAccessIssue=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false, reportUnknownParameterType=false

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias

from tensorboardX import summary  # type: ignore[import-untyped]
from tensorboardX.proto import (  # type: ignore[import-untyped]
    api_pb2,
    graph_pb2,
    plugin_hparams_pb2,
    plugin_text_pb2,
    summary_pb2,
    tensor_pb2,
    tensor_shape_pb2,
)

from trainbus.capabilities import Node

from .histogram import Histogram, HistogramAccumulator, histogram
from .weight_image import weight_images

Value: TypeAlias = Any
"""One ``Summary.Value``: a tag with its content at one step."""


def scalars(values: Mapping[str, float]) -> list[Value]:
    """Return numbers by tag; NaN and infinity are shown as such."""
    return [summary_pb2.Summary.Value(tag=tag, simple_value=value) for tag, value in values.items()]


def histograms(tag: str, array: Any) -> list[Value]:
    """Return the histogram of an array; nothing if it has no finite number."""
    return _histogram(tag, histogram(array))


def accumulated_histogram(tag: str, accumulator: HistogramAccumulator) -> list[Value]:
    """Return the histogram of all accumulated arrays; nothing if they have no finite number."""
    return _histogram(tag, accumulator.histogram())


def _histogram(tag: str, made: Histogram | None) -> list[Value]:
    if made is None:
        return []
    return list(summary.histogram_raw(tag, *made[:5], made.limits.tolist(), made.counts.tolist()).value)


def images(tag: str, array: Any, maximum: int = 1) -> list[Value]:
    """Return at most ``maximum`` images of a weight, numbered from the second on; nothing for scalars."""
    return [
        summary_pb2.Summary.Value(
            tag=f"{tag}/{number}" if number else tag,
            image=summary_pb2.Summary.Image(
                height=made.height, width=made.width, colorspace=3, encoded_image_string=made.png
            ),
        )
        for number, made in enumerate(weight_images(array, maximum))
    ]


def graph(nodes: Iterable[Node]) -> bytes:
    """Return a graph, as an event's ``graph_def``."""
    made = graph_pb2.GraphDef()
    made.versions.producer = 22  # without a version, TensorBoard assumes an obsolete graph
    for each in nodes:
        node = made.node.add(name=each.name, op=each.kind, input=each.inputs)
        for name, value in each.attributes:
            node.attr[name].s = value.encode()
        if each.shape is not None:  # TensorBoard shows it at the outgoing edges
            sizes = [tensor_shape_pb2.TensorShapeProto.Dim(size=-1 if size is None else size) for size in each.shape]
            node.attr["_output_shapes"].list.shape.add(dim=sizes)
    data: bytes = made.SerializeToString()
    return data


def config(json: str) -> list[Value]:
    """Return a model in Keras's JSON format, which TensorBoard draws as the conceptual graph."""
    return [_tensor("keras", "graph_keras_model", b"1", json.encode(), tensor_shape_pb2.TensorShapeProto())]


def text(tag: str, markdown: str) -> list[Value]:
    """Return Markdown for the text page."""
    content = plugin_text_pb2.TextPluginData(version=0).SerializeToString()
    shape = tensor_shape_pb2.TensorShapeProto(dim=[tensor_shape_pb2.TensorShapeProto.Dim(size=1)])
    return [_tensor(tag, "text", content, markdown.encode(), shape)]


def charts(title: str, tags_by_chart: Mapping[str, Sequence[str]]) -> list[Value]:
    """Return the custom scalars page: a chart of each name that draws its tags together."""
    made = {name: ["Multiline", tags] for name, tags in tags_by_chart.items()}
    return list(summary.custom_scalars({title: made}).value)


def hparams(settings: Mapping[str, str | float | bool]) -> list[Value]:
    """Return the start of a run for the hyperparameters page."""
    _, start, _ = summary.hparams(_exact(settings), {})
    return list(start.value)


def hparams_metrics(settings: Mapping[str, str | float | bool], metrics: Iterable[str]) -> list[Value]:
    """Return the columns of the hyperparameters page; ``metrics`` are the tags of the final metrics."""
    experiment, _, _ = summary.hparams(_exact(settings), dict.fromkeys(metrics))
    return list(experiment.value)


def _exact(settings: Mapping[str, str | float | bool]) -> dict[str, str | float | bool]:
    # the page has no integers, and tensorboardX fails at those that NumPy cannot hold
    return {name: float(value) if type(value) is int else value for name, value in settings.items()}


def hparams_end(*, success: bool) -> list[Value]:
    """Return the end of a run for the hyperparameters page."""
    status = api_pb2.Status.Value("STATUS_SUCCESS" if success else "STATUS_FAILURE")
    end = plugin_hparams_pb2.SessionEndInfo(status=status)
    data = plugin_hparams_pb2.HParamsPluginData(version=0, session_end_info=end).SerializeToString()
    return [summary_pb2.Summary.Value(tag="_hparams_/session_end_info", metadata=_metadata("hparams", data))]


def _tensor(tag: str, plugin: str, content: bytes, value: bytes, shape: Any) -> Value:
    tensor = tensor_pb2.TensorProto(dtype="DT_STRING", string_val=[value], tensor_shape=shape)
    return summary_pb2.Summary.Value(tag=tag, tensor=tensor, metadata=_metadata(plugin, content))


def _metadata(plugin: str, content: bytes) -> Any:
    data = summary_pb2.SummaryMetadata.PluginData(plugin_name=plugin, content=content)
    return summary_pb2.SummaryMetadata(plugin_data=data)
