"""The state of a PyTorch training, and the files that hold it."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, cast

import torch
from torch import nn

from trainbus import CheckpointError
from trainbus.checkpoints.host_buffers import HostBuffers
from trainbus.storage.atomic_file import reading

from ..shared.torch_rng import random_state, set_random_state
from .components import TrainingComponents
from .files import pt
from .parameter_names import Names, arrange, in_order_of, parameter_names
from .parameter_names import mismatch as parameter_mismatch
from .rollback import undone_on_error
from .sharding import ShardedLayout, from_sharded, placement_of
from .state_dict import to_cpu_state
from .weights import load_weights, mismatch, plain_names, weights_of, weights_of_part

PICKLED = (".pt", ".pth", ".pkl", ".pickle")
"""Suffixes of the files of ``torch.save``, which files with a suffix that names no format are, too."""
SAFETENSORS = ".safetensors"
DCP = ".dcp"
"""Suffix of a directory that all ranks write together."""
FORMAT = 1
"""Version of the checkpoint's layout."""


class Snapshot(NamedTuple):
    """What comes back with the best model: copies in main memory."""

    weights: Mapping[str, Any]
    """The model's state_dict under plain names."""
    extra: Mapping[str, Any]
    """Name to state of each object that was given as ``extra``, such as averaged weights."""


class TrainingState:
    """The state of a model and of the training's components.

    Args:
        model: The module that is trained.
        components: The other objects that have a state.
    """

    def __init__(self, model: nn.Module, components: TrainingComponents) -> None:
        self.model = model
        self.components = components
        self._first_names = self._parameter_names()
        """Names of the parameters of each optimizer before the training adds any."""

    def on_cpu(self, buffers: HostBuffers | None, *, weights_only: bool) -> Any:
        """Return the state as a file holds it, with all tensors on the CPU, in ``buffers`` if they are given.

        Raises:
            CheckpointError: A part would not load with weights_only=True, or has no values yet.
        """
        model = to_cpu_state(weights_of(self.model), "model", buffers=buffers)
        if weights_only:
            return model
        header = {
            "format": FORMAT,
            "torch": str(torch.__version__),
            "classes": self.components.classes(),
            "parameters": self._parameter_names(),
            "first_parameters": self._first_names,
        }
        components = self.components.cpu_state(buffers)
        return {"trainbus": header, "model": model, **components, "random": random_state()}

    def writer(self, state: Any, group: Any) -> Callable[[Path], object]:
        """Return a function that writes the state to a path, in any thread.

        Args:
            state: A state that ``on_cpu`` returned.
            group: The gloo group of the ranks that write a sharded state together; None for one process.
        """
        header = state.get("trainbus")  # a state of weights alone has none
        names: Mapping[str, Names] = cast("Any", header)["parameters"] if isinstance(header, dict) else {}
        return partial(_write, state, ShardedLayout(self.model, names), group)

    def load(self, path: Path) -> None:
        """Load a file or a directory that a writer wrote, or a file of a plain state_dict.

        Raises:
            CheckpointError: It cannot be read, or does not fit; nothing has changed then.
        """
        optimizers = self.components.optimizers
        shards: Any = None
        with reading(path):
            if path.suffix == DCP:
                from .files import dcp  # noqa: PLC0415 - not every build of torch has what it needs

                shards = dcp.Shards(path)
                found = from_sharded(shards.outline(), self.model, optimizers)
            else:
                found = _format(path).read(path)
            complete = isinstance(found.get("trainbus"), dict)
            reason = self._mismatch(found, path) if complete else mismatch(self.model, found)
        if reason:
            raise CheckpointError(f"{str(path)!r} does not fit: {reason}")
        with reading(path), undone_on_error(self.model, self.components, self.components.kinds if complete else ()):
            names: Mapping[str, Names] = found["trainbus"].get("parameters", {}) if complete else {}
            for name in optimizers.keys() & names:
                arrange(self.model, optimizers[name], names[name])
            if shards is not None:
                model = weights_of(self.model)
                tensors = {"model": model, "extra": self.components.state_dicts("extra")} if complete else model
                read = shards.read(placement_of(tensors, self.model, optimizers))
                found = from_sharded(read, self.model, optimizers)
            for name in optimizers.keys() & names:
                present = parameter_names(self.model, optimizers[name])
                found["optimizers"][name] = in_order_of(found["optimizers"][name], names[name], present)
            self._load(found, path, complete=complete)

    def _load(self, found: dict[str, Any], path: Path, *, complete: bool) -> None:
        own: tuple[Any, Any] = found.get("own") or (found.get("random"), {})
        random, own_buffers = own
        weights: dict[str, Any] = found["model"] if complete else found
        weights.update(own_buffers)
        try:
            load_weights(self.model, weights)
            if complete:
                self.components.load(found)
        except Exception as error:
            raise CheckpointError(f"{str(path)!r} does not fit: {error}; nothing was changed") from error
        if random is not None:
            set_random_state(random)

    def snapshot(self) -> Snapshot:
        """Return a copy in main memory."""
        weights = to_cpu_state(weights_of(self.model), "model", copied=True)
        return Snapshot(weights, to_cpu_state(self.components.state_dicts("extra"), "extra", copied=True))

    def restore(self, snapshot: Snapshot) -> None:
        """Restore a copy, or change nothing.

        Raises:
            CheckpointError: The model has changed its form since.
        """
        if reason := mismatch(self.model, snapshot.weights, "snapshot"):
            raise CheckpointError(f"the weights cannot be restored, and nothing was changed: {reason}")
        with undone_on_error(self.model, self.components, ["extra"]):
            try:
                load_weights(self.model, snapshot.weights)
                for name, state in snapshot.extra.items():
                    self.components.load_one("extra", name, copy.deepcopy(state))
            except Exception as error:
                what = f"{type(error).__name__}: {error}"
                raise CheckpointError(f"the weights cannot be restored, and nothing was changed: {what}") from error

    def _parameter_names(self) -> dict[str, list[list[str]]]:
        return {name: parameter_names(self.model, each) for name, each in self.components.optimizers.items()}

    def _mismatch(self, found: Mapping[str, Any], path: Path) -> str:
        """Describe why a complete checkpoint does not fit this training; return "" if it fits."""
        header = found["trainbus"]
        if header["format"] > FORMAT:
            return f"a newer trainbus wrote it; this one reads format {FORMAT}"
        if reason := mismatch(self.model, found["model"]):
            return reason
        reason = self.components.mismatch(found, header["classes"])
        saved, first = header.get("parameters", {}), header.get("first_parameters", {})
        known = [name for name, _ in self.model.named_parameters()]
        known = list(map(plain_names(self.model), known))
        for name, optimizer in self.components.optimizers.items():
            if name in saved and not reason:
                present = parameter_names(self.model, optimizer)
                kind = type(optimizer).__name__
                reason = parameter_mismatch(kind, saved[name], first.get(name, saved[name]), present, known)
        way_out = f"to begin with its weights alone, call TorchSubject(model).load({str(path)!r}) instead of resume="
        return f"{reason}; {way_out}" if reason else ""


def part_of(state: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Return one of several models from a state that ``TrainingState.on_cpu`` returned, in the layout of its own file.

    It has the weights of the model under their names in it; a complete state has none of the other objects, which
    belong to all models.

    >>> dict(part_of({"netG.bias": 1, "netD.bias": 2}, "netD"))
    {'bias': 2}
    """
    header = state.get("trainbus")
    if not isinstance(header, dict):
        return weights_of_part(state, name)
    none: dict[str, Any] = {kind: {} for kind in state if kind not in ("trainbus", "model", "random")}
    own: dict[str, Any] = {**cast("dict[str, Any]", header), "classes": {}, "parameters": {}, "first_parameters": {}}
    return {"trainbus": own, "model": weights_of_part(state["model"], name), **none}


def _write(state: Any, layout: ShardedLayout, group: Any, path: Path) -> object:
    if path.suffix != DCP:
        return _format(path).write(state, path)
    from .files import dcp  # noqa: PLC0415 - not every build of torch has what it needs

    return dcp.write(layout.to_sharded(state), path, group)


def content_writer(content: Any) -> Callable[[Path], object]:
    """Return a function that writes a copy of any content with ``torch.save``, with its tensors on the CPU."""
    return partial(pt.write, to_cpu_state(content, "content", copied=True))


def _format(path: Path) -> Any:
    """Return the module that reads and writes files of the path's suffix."""
    if path.suffix != SAFETENSORS:
        return pt
    from .files import safetensors  # noqa: PLC0415 - an optional dependency

    return safetensors
