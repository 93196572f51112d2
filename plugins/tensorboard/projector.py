"""The files of TensorBoard's projector: embedding tables and their labels."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from trainbus import SettingsError
from trainbus.capabilities import HasGraph, HasWeights, supports
from trainbus.metrics.names import hint
from trainbus.storage.backend import backend_for

CONFIG = "projector_config.pbtxt"
FOLDER = "embeddings"


class Table(NamedTuple):
    """A weight whose rows are the projector's points."""

    weight: str
    layer: str


def _layers(subject: object, names: Sequence[str] | None) -> tuple[str, ...]:
    """Return the requested layers; without a request, all embedding layers of the graph."""
    if names is not None:
        return tuple(names)
    if not supports(subject, HasGraph):
        return ()
    return tuple(node.name for node in subject.graph() if node.kind.startswith("Embedding"))


def _tables_of(layer: str, tables: Sequence[str]) -> list[str]:
    """Return the tables of a layer, whose name may lack the name of the enclosing model."""
    exact = [weight for weight in tables if f"{weight}/".startswith(f"{layer}/")]
    return exact or [weight for weight in tables if weight.rpartition("/")[0].endswith(f"/{layer}")]


class Projector:
    """The embedding tables of one run, with the labels of their points.

    Args:
        directory: The directory of a TensorBoard run, where the projector looks for its configuration.
        subject: The object that is trained.
        layers: Names of layers; None for all embedding layers.
        metadata: A file of labels, one line for each point, or a mapping of layer names to files. A file of several
            columns, separated by tabs, begins with a line of their names.

    Raises:
        SettingsError: A layer has no table, a file does not exist, or its number of labels is wrong.
    """

    def __init__(
        self, directory: Path, subject: object, layers: Sequence[str] | None, metadata: str | Mapping[str, str] | None
    ) -> None:
        self.directory = directory
        shapes = {name: array.shape for name, array in subject.weights()} if isinstance(subject, HasWeights) else {}
        tables = [name for name, shape in shapes.items() if len(shape) == 2]
        self.tables = [
            Table(weight, layer) for layer in _layers(subject, layers) for weight in _tables_of(layer, tables)
        ]
        found = {table.layer for table in self.tables}
        for layer in layers or ():
            if layer not in found:
                near = hint(layer, [name.rpartition("/")[0] or name for name in tables])
                raise SettingsError(f"TensorBoard: embeddings_layer_names: {layer!r} has no table of rows{near}")
        if not found:
            near = ", ".join(map(repr, tables)) or "none"
            raise SettingsError(
                "TensorBoard: embeddings_freq: the subject's graph has no embedding; name layers in "
                f"embeddings_layer_names; tables: {near}"
            )
        if isinstance(metadata, str):
            metadata = dict.fromkeys(found, metadata)
        self.metadata = {layer: Path(path).absolute() for layer, path in (metadata or {}).items()}
        for layer, path in self.metadata.items():
            if layer not in found:
                near = hint(layer, sorted(found))
                raise SettingsError(f"TensorBoard: embeddings_metadata: {layer!r} is not among the layers shown{near}")
            if not path.is_file():
                raise SettingsError(f"TensorBoard: embeddings_metadata: no such file: {str(path)!r}")
        for table in self.tables:
            if table.layer in self.metadata:
                _check_labels(self.metadata[table.layer], table.weight, shapes[table.weight][0])

    def write(self, arrays: Mapping[str, Any]) -> list[Any]:
        """Replace the projector's tables by these arrays, keyed by weight; return no event, since none is needed."""
        folder = self.directory / FOLDER
        folder.mkdir(parents=True, exist_ok=True)
        entries: list[str] = []
        for number, table in enumerate(self.tables):
            array = arrays[table.weight]
            stem = f"{number}-{re.sub(r'[^A-Za-z0-9.-]+', '_', table.weight)}"
            lines = ("\t".join(map(repr, row)) for row in array.astype("float64").tolist())
            backend_for(folder / f"{stem}.tsv").replace("\n".join(lines) + "\n")
            labels = self.metadata.get(table.layer)
            if labels is not None:
                shutil.copyfile(labels, folder / f"{stem}-metadata.tsv")
            entries.append(_entry(table.weight, f"{FOLDER}/{stem}", array.shape, labels=labels is not None))
        backend_for(self.directory / CONFIG).replace("".join(entries))
        return []


def _check_labels(path: Path, weight: str, rows: int) -> None:
    """Raise an error unless there is a label for each row; the projector skips empty lines."""
    with path.open(encoding="utf-8", errors="replace") as file:
        lines = [line for line in file if line.strip()]
    headed = bool(lines) and "\t" in lines[0]
    if len(lines) - headed != rows:
        heading = (
            "with several columns, after a line of their names" if headed else "with one column, without a heading"
        )
        raise SettingsError(
            f"TensorBoard: embeddings_metadata: {str(path)!r} has {len(lines) - headed} labels, {weight!r} has {rows} "
            f"rows; give a line that is not empty for each row, {heading}"
        )


def _entry(name: str, stem: str, shape: tuple[int, ...], *, labels: bool) -> str:
    lines = [
        f"tensor_name: {json.dumps(name, ensure_ascii=False)}",
        f"tensor_path: {json.dumps(f'{stem}.tsv')}",
        *(f"tensor_shape: {size}" for size in shape),
        *([f"metadata_path: {json.dumps(f'{stem}-metadata.tsv')}"] if labels else []),
    ]
    return "embeddings {\n" + "".join(f"  {line}\n" for line in lines) + "}\n"
