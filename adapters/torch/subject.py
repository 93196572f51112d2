"""PyTorch: a module, its optimizers and what else takes part in the training, as one subject."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

from trainbus import CheckpointError, LoopError, MissingDependency, SettingsError
from trainbus.capabilities import (
    BackgroundSaveable,
    HasActivations,
    HasDirections,
    HasGradients,
    HasLearningRate,
    HasTrace,
    HasWeights,
    Node,
    Restorable,
    Saveable,
    Snapshotable,
)
from trainbus.checkpoints.host_buffers import HostBuffers
from trainbus.metrics.names import hint
from trainbus.metrics.scalars import DeviceScalars

try:
    import torch
    import torch.distributed as dist
    from torch import nn
    from torch.nn import UninitializedParameter
    from torch.optim import Optimizer
except ImportError as error:
    raise MissingDependency(f"{error}; pip install 'trainbus[torch]'") from error

from ..shared.torch_rng import random_state, set_random_state, set_torch_random_state, torch_random_state
from .components import Holders, named, states
from .files import pt as torch_file
from .inspection.gradients import hold_gradients, unheld
from .inspection.module_graph import parts
from .inspection.probe import Probe, outputs
from .learning_rates import Rate, named_rates, scale, undone_by
from .metric_directions import declared_direction, declares_directions
from .sharding import Layout, is_classic, is_sharded, place_of, take_up
from .state_dict import empty_on_cpu, portable
from .weights import arrays, misfit, take_weights, unwrapped, weights_of

if TYPE_CHECKING:
    from ..shared.torch_ranks import TorchRanks

__all__ = ["TorchSubject"]

if os.environ.get("TORCHELASTIC_RESTART_COUNT", "0") != "0":
    from ..shared.torch_ranks import warn_of_shared_store

    warn_of_shared_store()  # here, since a script imports this file before it makes its process group

SAFETENSORS = ".safetensors"
SHARDS = ".dcp"
"""Suffix of a directory that all ranks fill together."""
FORMAT = 1
"""Number of the checkpoint's layout."""

TOUCHING = (BackgroundSaveable, HasActivations, HasGradients, HasTrace, HasWeights, Restorable, Saveable, Snapshotable)
"""Capabilities that read or change the weights."""


class TorchSubject:
    """A PyTorch training as trainbus sees it.

    Wrappers (DataParallel, DistributedDataParallel, `torch.compile`) leave no trace in names and files. The model's
    train or eval mode is never touched, but while `probe` is run through it.

    Args:
        model: the module to train, wrapped or not.
        optimizer: the optimizer; of several a mapping of names, or a sequence, whose names are then their classes'.
        scheduler: what changes the learning rates, in the same forms. Give every one: its state belongs into a
            checkpoint, and it would otherwise undo a learning rate that ReduceLROnPlateau has cut.
        scaler: the GradScaler of mixed precision.
        extra: whatever else has `state_dict` and `load_state_dict` and belongs into a checkpoint, by name: averaged
            weights, a loss with weights of its own. Loaders that go through `run.batches` need not be named.
        probe: data to look at the model with, for the activations and the graph that TensorBoard shows, as if it were
            never run: a loader of batches, such as the validation's, or tensors. `forward` tells what the model takes
            of a batch: the first elements of a tuple, as many as it needs; arguments by name of a mapping.
        timeout: seconds that one process of a `torch.distributed` job waits for the others before it gives them up.

    Raises:
        SettingsError: an argument is not what its name says.

    >>> model = nn.Linear(2, 1)
    >>> subject = TorchSubject(model, torch.optim.SGD(model.parameters(), lr=0.1))
    >>> subject.learning_rates()
    {'learning_rate': 0.1}
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: Optimizer | Sequence[Optimizer] | Mapping[str, Optimizer] | None = None,
        *,
        scheduler: Any | Sequence[Any] | Mapping[str, Any] | None = None,
        scaler: Any = None,
        extra: Mapping[str, Any] | None = None,
        probe: Any = None,
        timeout: float = 1800,
    ) -> None:
        if not isinstance(cast("object", model), nn.Module):
            hint = "; did you swap model and optimizer?" if isinstance(optimizer, nn.Module) else ""
            raise SettingsError(f"model is a {type(model).__name__}, no torch.nn.Module{hint}")
        self.model = model
        self.optimizers: dict[str, Any] = named("optimizer", optimizer, "param_groups")
        """Name to optimizer; the only one's name is "optimizer"."""
        self.schedulers = named("scheduler", scheduler)
        """Name to scheduler; the only one's name is "scheduler"."""
        self.scaler = None if scaler is None else named("scaler", scaler)["scaler"]
        self.extra = named("extra", dict(extra or {}))
        self.probe = None if probe is None else Probe(probe)
        self.timeout = timeout
        self._buffers = HostBuffers(empty_on_cpu)
        self._sharing: TorchRanks | None = None

    def refusal(self, capability: type) -> str | None:
        """Why this training lacks the capability: no learning rate that acts, no whole weights, no metric objects."""
        if capability is HasLearningRate:
            if not self.optimizers:
                return "no optimizer was given; give it: TorchSubject(model, optimizer)"
            if not named_rates(self.optimizers):
                kinds = " and ".join(dict.fromkeys(type(each).__name__ for each in self.optimizers.values()))
                return f"{kinds} has no learning rate that acts while it trains"
            return undone_by(self.optimizers, self.schedulers)
        if capability in TOUCHING and is_classic(self.model):
            return (
                "FullyShardedDataParallel has sharded its weights in a way that no rank can use alone; shard the model "
                "with torch.distributed.fsdp.fully_shard"
            )
        for each, whole in (HasWeights, "weights"), (HasGradients, "gradients"):
            if capability is each and is_sharded(self.model):
                return f"its {whole} are sharded over the ranks, and none of them has a whole one"
        if capability is HasDirections and not declares_directions(self.model):
            return "the model holds no metric objects"
        if capability is HasGradients:
            return unheld(self.optimizers)
        if capability is HasActivations:
            return self._unprobed()
        return self._unprobed() or self._valueless() if capability is HasTrace else None

    def ranks(self) -> TorchRanks | None:
        """The processes of the default process group, None where there is no other."""
        if not dist.is_available() or not dist.is_initialized() or dist.get_world_size() == 1:
            return None
        from ..shared.torch_ranks import TorchRanks  # noqa: PLC0415 - not every build of torch has what it needs

        return TorchRanks(self.timeout)

    def saves_sharded(self, suffix: str) -> bool:
        """Whether it is .dcp."""
        return suffix == SHARDS

    def writer_group(self) -> TorchRanks | None:
        """The processes of the default process group where the model is sharded over them."""
        if is_sharded(self.model) and (self._sharing is None or self._sharing.closed):
            self._sharing = self.ranks()
            if self._sharing is not None:
                self._sharing.broadcast(None)  # makes its group, which all ranks have to do in the same order
        return self._sharing

    # --- files and snapshots

    def suffixes(self, *, weights_only: bool) -> Sequence[str]:
        """.pt and .pth, which mean the same; weights also as .safetensors; .dcp, and only that where it is sharded."""
        if is_sharded(self.model):
            return (SHARDS,)
        return (".pt", ".pth", SAFETENSORS, SHARDS) if weights_only else (".pt", ".pth", SHARDS)

    def save(self, path: str | Path, *, weights_only: bool) -> object:
        """Write a file for `torch.load(path, weights_only=True)`, with all tensors on the CPU.

        With `weights_only` it holds the model's state_dict. Else a dictionary: "model", that state_dict; "optimizers",
        "schedulers" and "extra", each name to state_dict; "scaler"; "random", the state of the random generators of
        Python, NumPy, torch and CUDA; "trainbus", the layout's number, torch's version and the classes of optimizers
        and schedulers. A path that ends in .safetensors gets the weights in that format.

        A path that ends in .dcp gets a directory for `torch.distributed.checkpoint`: the same nested dictionary, with
        the state of optimizers under the names of the parameters, and what each rank has alone under "ranks". Of a
        sharded model (`fully_shard`) every rank calls this at the same time.

        Returns:
            The digest of what the file is to hold, or the parts of the directory, where the format tells them.

        Raises:
            CheckpointError: a part of the state would not load with weights_only=True, or has no values yet.
            OSError: it cannot be written, on this rank or on another.
        """
        self.writer_group()
        return self._writer(self._state(None, weights_only=weights_only))(Path(path))

    def snapshot_writer(self, *, weights_only: bool) -> Callable[[Path], object]:
        """What writes the state as it is now: a copy in main memory, in the place of the last one.

        Raises:
            CheckpointError: as `save`.
        """
        self.writer_group()
        state = self._state(self._buffers, weights_only=weights_only)
        self._buffers.drop_unused()
        return self._writer(state)

    def load(self, path: str | Path) -> None:
        """Take over what `save`, or a plain `torch.save(model.state_dict(), path)`, wrote, each tensor where it is.

        A directory of shards fits whatever the number of ranks was and is: each rank reads what it needs.

        A file of weights alone leaves all else as it is. Of a whole one, kinds of state that this training does not
        have (no optimizer was given, say) are passed over.

        Raises:
            UnreadableCheckpoint: the file cannot be read; nothing was changed then.
            CheckpointError: it belongs to another model or other optimizers; nothing was changed then.
        """
        path = Path(path)
        shards = self._shards(path)
        found = _format(path).read(path) if shards is None else take_up(shards.outline(), self.model, self.optimizers)
        whole = isinstance(found.get("trainbus"), dict)
        told = self._misfit(found) if whole else misfit(self.model, found)
        if told:
            raise CheckpointError(f"{str(path)!r} does not fit: {told}")
        if shards is not None:
            found = take_up(shards.read(self._place(whole=whole)), self.model, self.optimizers)
        own: tuple[Any, Any] = found.get("own") or (found.get("random"), {})
        random, buffers = own
        weights = found["model"] if whole else found
        weights.update(buffers)
        take_weights(self.model, weights)
        if whole:
            self._holders().take(found)
        if random is not None:
            set_random_state(random)

    def snapshot(self) -> object:
        """A copy of the model's state_dict in main memory, whatever device the model is on."""
        return portable(weights_of(self.model), "model", copied=True)

    def restore(self, snapshot: Any) -> None:
        """Fill the model's tensors in place, so that optimizers still hold them."""
        take_weights(self.model, snapshot)

    def random_state(self) -> Mapping[str, Any]:
        """Where torch's global generators stand, on the CPU and on every CUDA device."""
        return torch_random_state()

    def set_random_state(self, state: Mapping[str, Any]) -> None:
        """Bring them back; those of devices that are not here are passed over."""
        set_torch_random_state(state)

    # --- learning rates

    def learning_rates(self) -> Mapping[str, float]:
        """The only rate as "learning_rate", several as "learning_rate/<optimizer>/<group>".

        The optimizer's name is left out where there is one optimizer, the group's where the optimizer has one group.
        A group is named by its key "name", or else by its number.
        """
        return DeviceScalars({name: rate.stored for name, rate in named_rates(self.optimizers).items()})

    def set_learning_rates(self, rates: Mapping[str, float]) -> None:
        """Change rates, for good: a scheduler's later rates all change by the same factor.

        Raises:
            SettingsError: no rate has this name, the optimizer does not keep the change, or a schedule is at 0, which
                no factor changes.
        """
        known = named_rates(self.optimizers)
        for name in rates:
            if name not in known:
                near = hint(name, known)
                raise SettingsError(f"{name!r} is no learning rate{near} learning rates: {', '.join(known) or 'none'}")
        for optimizer in self.optimizers.values():
            changed = {name: known[name] for name in rates if known[name].optimizer is optimizer}
            if changed:
                self._change(optimizer, {rate: rates[name] for name, rate in changed.items()})

    def _change(self, optimizer: Optimizer, rates: Mapping[Rate, float]) -> None:
        schedulers = [each for each in self.schedulers.values() if getattr(each, "optimizer", None) is optimizer]
        factors = [1.0] * len(optimizer.param_groups)
        for rate, value in rates.items():
            if rate.value:
                factors[rate.group] = value / rate.value
            elif schedulers and value:
                raise SettingsError(f"the schedule is at 0, and no factor leads from there to {value}")
            rate.write(value)
        scale(optimizer, schedulers, factors)

    # --- what can be looked at

    def weights(self) -> Iterator[tuple[str, Any]]:
        """Parameters, then the floating-point buffers that a checkpoint holds; tied ones once, none without values.

        The arrays are read-only and may share memory with the model. NumPy knows no bfloat16, so every type below
        single precision becomes single; a complex number is a pair of numbers in a last axis.
        """
        yield from arrays(self.model)

    def graph(self) -> Sequence[Node]:
        """The modules that hold no others, in the order of their registration; a Sequential's in a chain."""
        return parts(unwrapped(self.model))

    def activations(self, batch_size: int) -> Iterator[tuple[str, Any]]:
        """What each module that calls no other one puts out for the probe; of several tensors, each with its number.

        The modules are in evaluation mode meanwhile, and not compiled; afterwards they, their buffers and the
        generators of the probe's loader are as they were.

        Raises:
            LoopError: a lazy module has not seen a batch yet, and a look would settle what its weights are.
        """
        if why := self._valueless():
            raise LoopError(why)
        if self.probe is not None:
            model = unwrapped(self.model)
            for arguments in self.probe.slices(model, batch_size):
                yield from outputs(model, arguments)

    def hold_gradients(self) -> Callable[[], Iterable[tuple[str, Any]]]:
        """Copy those that each optimizer takes at its next update."""
        return hold_gradients(self.model, self.optimizers)

    def trace(self, batch_size: int) -> Sequence[Node]:
        """The operations that the first samples of the probe go through, each inside the module that does it."""
        from .inspection.operation_graph import trace  # noqa: PLC0415 - only who writes graphs needs it

        if self.probe is None:
            return ()
        model = unwrapped(self.model)
        with closing(self.probe.slices(model, batch_size)) as slices:
            return trace(model, next(slices))

    def direction_of(self, metric: str) -> Literal["min", "max"] | None:
        """What a torchmetrics metric that is an attribute of the model says of itself, where that is right.

        The attribute's name is the metric's, with or without `val_` or `train_`, wherever in the model it is.
        """
        return declared_direction(self.model, metric)

    # --- inner workings

    def _unprobed(self) -> str | None:
        if self.probe is None:
            return "there is no data to look at the model with; give it: TorchSubject(..., probe=validation_loader)"
        if any(hasattr(each, "device_mesh") for each in self.model.parameters()):
            return "the model lies on several processes, which would all have to be looked at together"
        return None

    def _valueless(self) -> str | None:
        if any(isinstance(each, UninitializedParameter) for each in self.model.parameters()):
            return "the model has weights without values until its first batch"
        return None

    def _writer(self, state: Any) -> Callable[[Path], object]:
        """What writes the state to a path, in whatever thread."""
        layout = Layout(self.model, self.optimizers)
        group = None if self._sharing is None else self._sharing.group
        return partial(_write, state, layout, group)

    def _shards(self, path: Path) -> Any:
        if path.suffix != SHARDS:
            return None
        from .files import dcp as torch_shards  # noqa: PLC0415

        return torch_shards.Shards(path)

    def _place(self, *, whole: bool) -> Callable[[tuple[str, ...]], Any]:
        weights = weights_of(self.model)
        extra = states(self.extra) if whole else {}
        return place_of({"model": weights, "extra": extra} if whole else weights, self.model, self.optimizers)

    def _state(self, buffers: HostBuffers | None, *, weights_only: bool) -> Any:
        """What a file holds."""
        model = portable(weights_of(self.model), "model", buffers=buffers)
        if weights_only:
            return model
        return {
            "trainbus": self._header(),
            "model": model,
            **self._holders().state(buffers),
            "random": portable(random_state(), "random"),
        }

    def _holders(self) -> Holders:
        return Holders(self.optimizers, self.schedulers, self.scaler, self.extra)

    def _header(self) -> dict[str, Any]:
        return {"format": FORMAT, "torch": str(torch.__version__), "classes": self._holders().classes()}

    def _misfit(self, found: Mapping[str, Any]) -> str:
        """In words, why a whole checkpoint does not fit this training; empty where it fits."""
        header = found["trainbus"]
        if header["format"] > FORMAT:
            return f"a newer trainbus wrote it; this one reads format {FORMAT}"
        return misfit(self.model, found["model"]) or self._holders().misfit(found, header["classes"])


def _write(state: Any, layout: Layout, group: Any, path: Path) -> object:
    if path.suffix != SHARDS:
        return _format(path).write(state, path)
    from .files import dcp as torch_shards  # noqa: PLC0415 - not every build of torch has what it needs

    return torch_shards.write(layout(state), path, group)


def _format(path: Path) -> Any:
    """What reads and writes files of the path's suffix."""
    if path.suffix == SAFETENSORS:
        from .files import safetensors as torch_safetensors  # noqa: PLC0415 - only who wants such files needs it

        return torch_safetensors
    return torch_file
