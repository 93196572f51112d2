"""What TensorBoard shows, as the messages that its files hold."""

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

from .histogram import Tally
from .weight_image import pictures

Value: TypeAlias = Any
"""One `Summary.Value`: a tag with what it has at one step."""


def scalars(values: Mapping[str, float]) -> list[Value]:
    """Numbers by tag; NaN and the infinite ones are shown as such."""
    return [summary_pb2.Summary.Value(tag=tag, simple_value=value) for tag, value in values.items()]


def histograms(tag: str, array: Any) -> list[Value]:
    """The histogram of an array; nothing where it has no finite number."""
    tally = Tally()
    tally.add(array)
    return tallied(tag, tally)


def tallied(tag: str, tally: Tally) -> list[Value]:
    """The histogram of all that was counted; nothing where there was no finite number."""
    made = tally.histogram()
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


def images(tag: str, array: Any, most: int = 1) -> list[Value]:
    """At most so many pictures of a weight, those after the first numbered; nothing where there is nothing to see."""
    return [
        summary_pb2.Summary.Value(
            tag=f"{tag}/{number}" if number else tag,
            image=summary_pb2.Summary.Image(
                height=made.height, width=made.width, colorspace=3, encoded_image_string=made.png
            ),
        )
        for number, made in enumerate(pictures(array, most))
    ]


def graph(nodes: Iterable[Node]) -> bytes:
    """A graph, as an event's `graph_def`."""
    made = graph_pb2.GraphDef()
    made.versions.producer = 22  # TensorBoard takes a graph without a version for an ancient one
    for each in nodes:
        node = made.node.add(name=each.name, op=each.kind, input=each.inputs)
        for name, value in each.attributes:
            node.attr[name].s = value.encode()
        if each.shape is not None:  # TensorBoard writes it at the edges that begin here
            sizes = [tensor_shape_pb2.TensorShapeProto.Dim(size=-1 if size is None else size) for size in each.shape]
            node.attr["_output_shapes"].list.shape.add(dim=sizes)
    data: bytes = made.SerializeToString()
    return data


def config(json: str) -> list[Value]:
    """A model as Keras describes it, which the page of graphs draws as conceptual graph."""
    return [_tensor("keras", "graph_keras_model", b"1", json.encode(), tensor_shape_pb2.TensorShapeProto())]


def text(tag: str, markdown: str) -> list[Value]:
    """Markdown on the page of texts."""
    content = plugin_text_pb2.TextPluginData(version=0).SerializeToString()
    shape = tensor_shape_pb2.TensorShapeProto(dim=[tensor_shape_pb2.TensorShapeProto.Dim(size=1)])
    return [_tensor(tag, "text", content, markdown.encode(), shape)]


def charts(title: str, overlaid: Mapping[str, Sequence[str]]) -> list[Value]:
    """The page of custom scalars: name of a chart to the tags that it draws over each other."""
    made = [
        layout_pb2.Chart(title=name, multiline=layout_pb2.MultilineChartContent(tag=tags))
        for name, tags in overlaid.items()
    ]
    layout = layout_pb2.Layout(category=[layout_pb2.Category(title=title, chart=made)])
    shape = tensor_shape_pb2.TensorShapeProto()
    return [_tensor("custom_scalars__config__", "custom_scalars", b"", layout.SerializeToString(), shape)]


_KINDS = {bool: "BOOL", str: "STRING", float: "FLOAT64", int: "FLOAT64"}


def hparams(settings: Mapping[str, str | float | bool]) -> list[Value]:
    """The beginning of a run on the page of hyperparameters."""
    start = plugin_hparams_pb2.SessionStartInfo()
    for name, value in settings.items():
        field = {"BOOL": "bool_value", "STRING": "string_value", "FLOAT64": "number_value"}[_KINDS[type(value)]]
        setattr(start.hparams[name], field, value)
    return [_hparams("session_start_info", session_start_info=start)]


def hparams_metrics(settings: Mapping[str, str | float | bool], metrics: Iterable[str]) -> list[Value]:
    """The columns of that page; `metrics` are the tags of what the run will come to."""
    infos = [
        api_pb2.HParamInfo(name=name, type=api_pb2.DataType.Value(f"DATA_TYPE_{_KINDS[type(value)]}"))
        for name, value in settings.items()
    ]
    shown = [api_pb2.MetricInfo(name=api_pb2.MetricName(tag=tag)) for tag in metrics]
    return [_hparams("experiment", experiment=api_pb2.Experiment(hparam_infos=infos, metric_infos=shown))]


def hparams_end(*, success: bool) -> list[Value]:
    """The end of a run on the page of hyperparameters."""
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
