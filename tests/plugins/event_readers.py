"""Contents of a directory by TensorBoard's own reader."""

import warnings
from pathlib import Path
from typing import Any

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

__all__ = ["everything", "read", "scalars"]


def read(log_dir: str | Path = "logs") -> dict[str, Any]:
    """Return a reader for each run in the directory."""
    all_of_them = {"scalars": 0, "histograms": 0, "images": 0, "tensors": 0}
    folders = {path.parent for path in Path(log_dir).rglob("events.out.tfevents.*")}
    readers = {
        str(path.relative_to(log_dir)): EventAccumulator(str(path), size_guidance=all_of_them)
        for path in sorted(folders)
    }
    return {name: reader.Reload() for name, reader in readers.items()}


def scalars(log_dir: str | Path = "logs") -> dict[tuple[str, str, int], float]:
    """Return the values by run, tag and step."""
    return {
        (run, tag, event.step): event.value
        for run, reader in read(log_dir).items()
        for tag in reader.Tags()["scalars"]
        for event in reader.Scalars(tag)
    }


def everything(log_dir: str | Path) -> dict[tuple[str, str, int], list[str]]:
    """Return all that is shown by run, tag and step, in the order of the files; without the text on the machine."""
    found: dict[tuple[str, str, int], list[str]] = {}
    for run, reader in read(log_dir).items():
        tags = reader.Tags()
        kinds = {
            "scalars": lambda tag, reader=reader: [(each.step, repr(each.value)) for each in reader.Scalars(tag)],
            "histograms": lambda tag, reader=reader: [
                (each.step, repr(each.histogram_value)) for each in reader.Histograms(tag)
            ],
            "images": lambda tag, reader=reader: [
                (each.step, repr(each.encoded_image_string)) for each in reader.Images(tag)
            ],
            "tensors": lambda tag, reader=reader: [(each.step, str(each.tensor_proto)) for each in reader.Tensors(tag)],
        }
        for kind, get in kinds.items():
            for tag in tags[kind]:
                if tag != "environment":
                    for step, value in get(tag):
                        found.setdefault((run, tag, step), []).append(value)
        if tags["graph"]:
            found[run, "graph", 0] = [str(reader.Graph())]
    return found
