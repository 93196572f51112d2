"""PyTorch: a module, its optimizers and the other components of its training as one subject."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, Literal, cast

from trainbus import LoopError, MissingDependency, SettingsError
from trainbus.capabilities import HasLearningRate, Node, PartWriters
from trainbus.checkpoints.host_buffers import HostBuffers
from trainbus.metrics.scalars import DeviceScalars
from trainbus.settings.arguments import checked

try:
    from torch import nn
    from torch.optim import Optimizer
except ImportError as error:
    raise MissingDependency(f"{error}; pip install 'trainbus[torch]'") from error

from ..shared.torch_ranks import TorchRanks, rank_and_size, warn_of_shared_store
from ..shared.torch_rng import set_torch_random_state, torch_random_state
from .components import TrainingComponents, by_name, optimizers_by_name
from .inspection.gradients import hold_gradients
from .inspection.module_graph import module_nodes
from .inspection.probe import Probe, outputs
from .metric_directions import declared_direction
from .models import as_module
from .rates.learning_rates import named_options, named_rates, set_rates, what_changes, why_not_settable
from .rates.rate_tracker import RateTracker
from .refusals import why_not
from .sharding import is_sharded
from .state_dict import empty_on_cpu
from .training_state import DCP, PICKLED, SAFETENSORS, Snapshot, TrainingState, content_writer, part_of
from .weights import as_array, joins, named_weights, unwrapped, why_unset

warn_of_shared_store()  # here, since a script imports this file before it creates its process group


class TorchSubject:
    """A PyTorch training as the subject of a run.

    Names and files are those of the model without wrappers (DataParallel, DistributedDataParallel, ``torch.compile``).
    The model's train or eval mode only changes while ``probe`` runs through it.

    Args:
        model: The module to train; it may be wrapped. Several as a mapping from names, such as "netG" and "netD".
        optimizer: The optimizer; several as a mapping from names, or as a sequence, which takes the classes' names.
        scheduler: The learning rate schedulers, in the same forms. List all of them: a checkpoint holds their state,
            and an unlisted one would undo a learning rate that ReduceLROnPlateau has cut.
        scaler: The GradScaler of mixed precision; several in the same forms.
        extra: Name to any other object with ``state_dict`` and ``load_state_dict`` that a checkpoint should hold, such
            as averaged weights or a loss with weights; a file of weights alone does not hold them. Loaders that
            ``run.batches`` iterates need not be listed.
        probe: Data for the activations and the graph that TensorBoard shows: a loader of batches, such as the
            validation's, or tensors. Running it has no side effects. The signature of ``forward`` decides what the
            model gets of a batch: the first elements of a tuple, as many as it requires, or arguments by name of a
            mapping.
        timeout: Seconds that one process of a ``torch.distributed`` job waits for the others before it raises an error.

    Raises:
        SettingsError: An argument has the wrong type.

    >>> import torch
    >>> model = torch.nn.Linear(2, 1)
    >>> subject = TorchSubject(model, torch.optim.SGD(model.parameters(), lr=0.1))
    >>> subject.learning_rates()
    {'learning_rate': 0.1}
    """

    made_by = "TorchSubject"  # what the user writes, for messages: a binding that makes the subject names itself

    @checked("TorchSubject")
    def __init__(
        self,
        model: nn.Module | Mapping[str, nn.Module],
        optimizer: Optimizer | Sequence[Optimizer] | Mapping[str, Optimizer] | None = None,
        *,
        scheduler: Any | Sequence[Any] | Mapping[str, Any] | None = None,
        scaler: Any | Sequence[Any] | Mapping[str, Any] | None = None,
        extra: Mapping[str, Any] | None = None,
        probe: Any = None,
        timeout: float = 1800,
    ) -> None:
        if probe is not None and isinstance(model, Mapping):
            raise SettingsError("probe= runs through one model, and several were given; leave it out")
        self._parts = tuple(model) if isinstance(model, Mapping) else ()
        self.model = model = as_module(model, swapped=isinstance(optimizer, nn.Module))
        self.optimizers = optimizers_by_name(optimizer)
        """Name to optimizer, without wrappers such as Accelerate's; a single one is "optimizer"."""
        self.schedulers = by_name("scheduler", scheduler)
        """Name to scheduler; a single one is "scheduler"."""
        self.scalers = by_name("scaler", scaler)
        """Name to GradScaler; a single one is "scaler"."""
        self.extra = by_name("extra", dict(extra or {}))
        self.probe, self.timeout = None if probe is None else Probe(probe), timeout
        components = TrainingComponents(self.optimizers, self.schedulers, self.scalers, self.extra)
        self._state = TrainingState(model, components)
        self._buffers = HostBuffers(empty_on_cpu)
        self._writer_ranks: TorchRanks | None = None
        self._rates = RateTracker(self.optimizers, self.schedulers)

    def refusal(self, capability: type) -> str | None:
        """Return why this training lacks the capability; None if it has it."""
        if capability is HasLearningRate:
            return why_not_settable(self.optimizers, self._rates.schedulers())
        return why_not(capability, self.model, self._parts, self.optimizers, self.probe, self.made_by)

    def ranks(self) -> TorchRanks | None:
        """Return the processes of the default process group; None for a single process."""
        return None if rank_and_size()[1] == 1 else TorchRanks(self.timeout)

    def joins_ranks(self) -> bool:
        """Return whether the model is inside ``DistributedDataParallel.join``, or has been."""
        return joins(self.model)

    def saves_sharded(self, suffix: str) -> bool:
        """Return whether the suffix is .dcp."""
        return suffix == DCP

    def writer_group(self) -> TorchRanks | None:
        """Return the processes of the default process group if the model is sharded over them."""
        absent = self._writer_ranks is None or self._writer_ranks.closed
        if absent and rank_and_size()[1] > 1 and is_sharded(self.model):
            self._writer_ranks = self.ranks()
            if self._writer_ranks is not None:
                self._writer_ranks.broadcast(None)  # creates its group, which all ranks must do in the same order
        return self._writer_ranks

    # --- files and snapshots

    def suffixes(self, *, weights_only: bool) -> Sequence[str]:
        """Return .pt and others of that format, .safetensors (weights only) and .dcp; only .dcp for a sharded model."""
        if is_sharded(self.model):
            return (DCP,)
        return (*PICKLED, SAFETENSORS, DCP) if weights_only else (*PICKLED, DCP)

    @checked("save", "for example save(path, weights_only=True)")
    def save(self, path: str | Path, *, weights_only: bool) -> object:
        """Write a file for ``torch.load(path, weights_only=True)``, with all tensors on the CPU.

        With ``weights_only`` it holds the model's state_dict. Otherwise it holds a dictionary: "model", that
        state_dict; "optimizers", "schedulers" and "extra", each name to state_dict; "scaler"; "random", the state of
        the random generators of Python, NumPy, torch and CUDA; "trainbus", the layout's version, torch's version, the
        classes of optimizers and schedulers, and the names of the optimizers' parameters. A path
        that ends in .safetensors gets the weights in that format.

        A path that ends in .dcp gets a directory for ``torch.distributed.checkpoint``: the same nested dictionary, with
        the state of optimizers under the names of the parameters, and the state that one rank has alone under "ranks".
        All ranks of a sharded model (``fully_shard``) call this at the same time.

        Returns:
            The digest of the file's content, or the files of the directory, if the format provides them.

        Raises:
            CheckpointError: A part of the state would not load with weights_only=True, or has no values yet.
            OSError: It cannot be written, on this rank or on another.
        """
        self.writer_group()
        return self._writer(self._state.on_cpu(None, weights_only=weights_only))(Path(path))

    def snapshot_writer(self, *, weights_only: bool) -> Callable[[Path], object]:
        """Return a function that writes the current state, which is copied into main memory.

        The copy replaces the one of the last call. It raises the errors of ``save``.
        """
        self.writer_group()
        state = self._state.on_cpu(self._buffers, weights_only=weights_only)
        self._buffers.drop_unused()
        return self._writer(state)

    def part_names(self) -> Sequence[str]:
        """Return the names of the models, if several were given by name."""
        return self._parts

    def part_writers(self, *, weights_only: bool, background: bool) -> PartWriters:
        """Return functions that write all models, and each of several alone, in the layouts of ``save``.

        A complete file of one of several models has its weights as "model", and no optimizers, schedulers or others.
        """
        state = self._state.on_cpu(self._buffers if background else None, weights_only=weights_only)
        if background:
            self._buffers.drop_unused()
        parts = {name: self._writer(part_of(state, name)) for name in self._parts}
        return PartWriters(self._writer(state), parts)

    def content_writer(self, content: Any) -> Callable[[Path], object]:
        """Return a function that writes a copy of the content with ``torch.save``, its tensors on the CPU."""
        return content_writer(content)

    @checked("load", "for example load(path)")
    def load(self, path: str | Path) -> None:
        """Load a file of ``save``, or of ``torch.save(model.state_dict(), path)``, into the existing tensors.

        A sharded directory fits any number of ranks: each rank reads what it needs.

        A file of weights changes nothing but the weights. Of a complete file, kinds of state that this training does
        not have (for example, if no optimizer was given) are skipped. Each parameter gets the optimizer state of the
        parameter of its name; groups that were added to an optimizer after its run had begun are added again.

        Raises:
            UnreadableCheckpoint: The file cannot be read; nothing has changed then.
            CheckpointError: It belongs to another model or other optimizers; nothing has changed then.
        """
        self._state.load(Path(path))

    def snapshot(self) -> Snapshot:
        """Return a copy of the weights and of the state of ``extra`` in main memory, for a model on any device."""
        return self._state.snapshot()

    def left_out_of_weights(self) -> Sequence[str]:
        """Return the objects in ``extra``: they are restored with the best weights, and no file of weights has them."""
        return [f"extra {name!r}" for name in self.extra]

    def restore(self, snapshot: Snapshot) -> None:
        """Fill the model's tensors in place, since optimizers hold references to them, and restore ``extra``.

        Raises:
            CheckpointError: The model has changed its form since; nothing has changed then.
        """
        self._state.restore(snapshot)

    def random_state(self) -> Mapping[str, Any]:
        """Return the state of torch's global generators, on the CPU and on every CUDA device."""
        return torch_random_state()

    def set_random_state(self, state: Mapping[str, Any]) -> None:
        """Restore the state of the generators; skip CUDA devices that this machine lacks."""
        set_torch_random_state(state)

    # --- learning rates

    def learning_rates(self) -> Mapping[str, float]:
        """Return the rates by name, as ``named_rates`` of this package names them."""
        return DeviceScalars({name: rate.stored for name, rate in named_rates(self.optimizers).items()})

    def set_learning_rates(self, rates: Mapping[str, float]) -> None:
        """Change rates permanently: all later rates of their schedulers change by the same factor.

        Raises:
            SettingsError: No rate has this name, the optimizer does not keep the change, or a schedule is at 0, which
                no factor changes.
        """
        set_rates(self.optimizers, self._rates.schedulers(), rates)

    def rounded_learning_rates(self, rates: Mapping[str, float]) -> Mapping[str, float]:
        """Return the rates as the optimizers store them: a tensor has less precision than a float."""
        return {name: rate.rounded(rates[name]) for name, rate in named_rates(self.optimizers).items() if name in rates}

    def hold_learning_rates(self) -> Mapping[str, float]:
        """Return each learning rate as the next update of its optimizer uses it; until then, the present one.

        Until they are released, the update of an optimizer that replaces one of these unsaid raises a ``LoopError``.
        """
        return self._rates.hold()

    def release_learning_rates(self) -> None:
        """Note no more rates."""
        self._rates.release()

    def follow_schedules(
        self, epoch: int, rates: Mapping[str, float] | None = None
    ) -> Callable[[], Mapping[str, float] | None]:
        """Return a function that returns the rates that the schedulers would have given from now on."""
        return self._rates.follow(rates)

    def what_changes(self, name: str) -> str:
        """Return in words what else may have changed a rate: schedulers that were not given, or the loop."""
        return what_changes(self.optimizers, self._rates.schedulers())

    def optimizer_options(self) -> Mapping[str, Any]:
        """Return the options of all parameter groups except learning rates, named as the rates are."""
        return named_options(self.optimizers)

    @checked("replace", "give schedulers by name: replace(optimizer, scheduler=scheduler)")
    def replace(
        self,
        optimizer: Optimizer | Sequence[Optimizer] | Mapping[str, Optimizer],
        *,
        scheduler: Any | Sequence[Any] | Mapping[str, Any] | None = None,
    ) -> None:
        """Replace all optimizers and schedulers: the script trains on with these, given as to ``TorchSubject``.

        Checkpoints hold their state from now on, and the learning rates are theirs.

        Raises:
            SettingsError: An argument has the wrong type.
        """
        if cast("object", optimizer) is None:
            raise SettingsError("replace(None): give the optimizers that the script trains on with")
        optimizers, schedulers = optimizers_by_name(optimizer), by_name("scheduler", scheduler)
        for present, given in (self.optimizers, optimizers), (self.schedulers, schedulers):
            present.clear()
            present.update(given)

    # --- inspection

    def weights(self) -> Iterator[tuple[str, Any]]:
        """Yield the parameters, then the floating-point buffers that a checkpoint holds, as arrays.

        Tied weights come once, weights without values not at all. The arrays are read-only and may share memory with
        the model. Types below single precision become single, since NumPy has no bfloat16; a complex number is a pair
        of numbers in a new last axis.
        """
        for name, tensor in named_weights(self.model):
            yield name, as_array(tensor)

    def graph(self) -> Sequence[Node]:
        """Return a node for each module without children, in the order of registration; a Sequential's form a chain."""
        return module_nodes(unwrapped(self.model))

    def activations(self, batch_size: int) -> Iterator[tuple[str, Any]]:
        """Yield the outputs for the probe of each module that calls no other module; several are numbered.

        The modules run in evaluation mode and uncompiled; afterwards their modes, their buffers and the generators of
        the probe's loader are restored.

        Raises:
            LoopError: A lazy module has not seen a batch yet; running the probe would initialize its weights.
        """
        if problem := why_unset(self.model):
            raise LoopError(problem)
        if self.probe is not None:
            model = unwrapped(self.model)
            for arguments in self.probe.batches(model, batch_size):
                yield from outputs(model, arguments)

    def hold_gradients(self) -> Callable[[], Iterable[tuple[str, Any]]]:
        """Copy the gradients at each optimizer's next update; return a function that returns them."""
        return hold_gradients(self.model, self.optimizers)

    def trace(self, batch_size: int) -> Sequence[Node]:
        """Return the operations that process the probe's first samples, each inside the module that runs it."""
        from .inspection.operation_graph import operation_nodes  # noqa: PLC0415 - only graphs need it

        if self.probe is None:
            return ()
        with closing(self.probe.batches(model := unwrapped(self.model), batch_size)) as batches:
            return operation_nodes(model, next(batches))

    def direction_of(self, metric: str) -> Literal["min", "max"] | None:
        """Return the direction of the torchmetrics object whose attribute has this name, anywhere in the model.

        The name may have a prefix "val_" or "train_"; objects whose ``higher_is_better`` is wrong are ignored.
        """
        return declared_direction(self.model, metric)

    def _writer(self, state: Any) -> Callable[[Path], object]:
        return self._state.writer(state, None if self._writer_ranks is None else self._writer_ranks.group)
