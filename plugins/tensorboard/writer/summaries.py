"""What TensorBoard shows, as the messages of its event files."""

# pyright: reportMissingTypeStubs=false, reportAttributeAccessIssue=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false, reportUnknownParameterType=false

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias

from tensorboardX.proto import (  # type: ignore[import-untyped]
    api_pb2,
    graph_pb2,
    layout_pb2,
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
    message = summary_pb2.HistogramProto(
        min=made.minimum,
        max=made.maximum,
        num=made.size,
        sum=made.total,
        sum_squares=made.squares,
        bucket_limit=made.limits.tolist(),
        bucket=made.counts.tolist(),
    )
    return [summary_pb2.Summary.Value(tag=tag, histo=message)]


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
    made = [
        layout_pb2.Chart(title=name, multiline=layout_pb2.MultilineChartContent(tag=tags))
        for name, tags in tags_by_chart.items()
    ]
    layout = layout_pb2.Layout(category=[layout_pb2.Category(title=title, chart=made)])
    shape = tensor_shape_pb2.TensorShapeProto()
    return [_tensor("custom_scalars__config__", "custom_scalars", b"", layout.SerializeToString(), shape)]


_KINDS = {bool: "BOOL", str: "STRING", float: "FLOAT64", int: "FLOAT64"}


def hparams(settings: Mapping[str, str | float | bool]) -> list[Value]:
    """Return the start of a run for the hyperparameters page."""
    start = plugin_hparams_pb2.SessionStartInfo()
    for name, value in settings.items():
        field = {"BOOL": "bool_value", "STRING": "string_value", "FLOAT64": "number_value"}[_KINDS[type(value)]]
        setattr(start.hparams[name], field, value)
    return [_hparams("session_start_info", session_start_info=start)]


def hparams_metrics(settings: Mapping[str, str | float | bool], metrics: Iterable[str]) -> list[Value]:
    """Return the columns of the hyperparameters page; ``metrics`` are the tags of the final metrics."""
    infos = [
        api_pb2.HParamInfo(name=name, type=api_pb2.DataType.Value(f"DATA_TYPE_{_KINDS[type(value)]}"))
        for name, value in settings.items()
    ]
    shown = [api_pb2.MetricInfo(name=api_pb2.MetricName(tag=tag)) for tag in metrics]
    return [_hparams("experiment", experiment=api_pb2.Experiment(hparam_infos=infos, metric_infos=shown))]


def hparams_end(*, success: bool) -> list[Value]:
    """Return the end of a run for the hyperparameters page."""
    status = api_pb2.Status.Value("STATUS_SUCCESS" if success else "STATUS_FAILURE")
    return [_hparams("session_end_info", session_end_info=plugin_hparams_pb2.SessionEndInfo(status=status))]


def _hparams(what: str, **content: Any) -> Value:
    data = plugin_hparams_pb2.HParamsPluginData(version=0, **content).SerializeToString()
    return summary_pb2.Summary.Value(tag=f"_hparams_/{what}", metadata=_metadata("hparams", data))


def _tensor(tag: str, plugin: str, content: bytes, value: bytes, shape: Any) -> Value:
    tensor = tensor_pb2.TensorProto(dtype="DT_STRING", string_val=[value], tensor_shape=shape)
    return summary_pb2.Summary.Value(tag=tag, tensor=tensor, metadata=_metadata(plugin, content))


def _metadata(plugin: str, content: bytes) -> Any:
    data = summary_pb2.SummaryMetadata.PluginData(plugin_name=plugin, content=content)
    return summary_pb2.SummaryMetadata(plugin_data=data)
