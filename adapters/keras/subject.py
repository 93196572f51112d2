"""A Keras model as the subject of a run."""

# Keras declares no types and has no public way to read averages, build metrics or place the variables of JAX
# ruff: noqa: SLF001
# pyright: basic, reportAttributeAccessIssue=false

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from trainbus import MissingDependency, SettingsError
from trainbus.capabilities import (
    BackgroundSaveable,
    HasActivations,
    HasConfig,
    HasGradients,
    HasLearningRate,
    Node,
    Ranks,
    Saveable,
    SavesContent,
    Snapshotable,
)
from trainbus.checkpoints.host_buffers import HostBuffers
from trainbus.metrics.names import unique
from trainbus.settings.arguments import checked

try:
    import keras
except ImportError as error:
    raise MissingDependency(
        f"{error}; pip install 'trainbus[keras]' and a backend (torch, jax or tensorflow), and name it in KERAS_BACKEND"
    ) from error

from .activations import activations, why_unreadable
from .files.loading import WHY_NOT, load_file
from .layer_graph import is_functional, layer_nodes
from .learning_rates import as_number, optimizers_of, options_of, rates_of, rounded_rates, set_rates, why_not_settable
from .metric_directions import declared_direction
from .processes import has_global_metrics, is_sharded, local_assign, ranks
from .rate_tracker import RateTracker
from .rng import random_state, set_random_state
from .weights import averages_of, gradients_of, named_weights, restore_snapshot, snapshot_of

if not WHY_NOT:
    from .files import saving


class KerasSubject:
    """A Keras model as the subject of a run.

    A complete model is written as ``.keras`` (or legacy ``.h5``) for ``keras.models.load_model``, its weights as
    ``.weights.h5`` for ``model.load_weights``.

    Args:
        model: Any model; its learning rates are those of the optimizer that it is compiled with.
        validation_data: Data for the activations of its layers, in the forms that ``fit`` takes.
        validation_steps: Batches of that data to use; None for all.
        timeout: Seconds that one of several processes waits for the others before it raises an error.

    Raises:
        SettingsError: ``model`` is not a ``keras.Model``.
    """

    @checked("KerasSubject")
    def __init__(
        self, model: Any, *, validation_data: Any = None, validation_steps: int | None = None, timeout: float = 1800
    ) -> None:
        if not isinstance(model, keras.Model):
            raise SettingsError(f"KerasSubject takes a keras.Model; this is a {type(model).__name__}")
        self._model = model
        self._buffers = None if WHY_NOT else HostBuffers()
        self._validation = validation_data, validation_steps
        self.timeout = timeout
        self.batch: Any = None
        """A batch of ``fit``, or only its shapes and types, with which ``load`` builds a model that is not built."""
        self.in_fit = False
        """Whether ``fit`` trains the model, which draws its own progress."""
        self.rates = RateTracker(model)
        """Stores the learning rates when ``fit`` makes an update."""
        self.finalized = False
        """Whether ``fit`` has ended and replaced the weights by the optimizer's moving averages; later restores then do
        the same."""

    @property
    def model(self) -> Any:
        """The model with up-to-date variables: while JAX trains, the variables do not hold their values."""
        self.sync()
        return self._model

    def sync(self) -> None:
        """Update the model's variables, which do not hold their values while JAX trains."""
        if hasattr(self._model, "jax_state_sync"):
            self._model.jax_state_sync()

    def refusal(self, capability: type) -> str | None:
        """Return why this model lacks the capability; None if it has it."""
        if capability is BackgroundSaveable and WHY_NOT:
            return WHY_NOT
        if capability is SavesContent:
            return "the files of Keras hold a model, and nothing else; save other values in a callback of your own"
        if capability is HasActivations:
            return why_unreadable(self._validation[0])
        if capability is HasGradients and keras.backend.backend() != "torch":
            return f"Keras keeps no gradients on the backend {keras.backend.backend()!r}; it does on 'torch'"
        if capability in (Saveable, Snapshotable) and is_sharded(self.model):
            return "its weights are sharded over several processes, and no process has all of them"
        if capability is HasConfig and not is_functional(self._model):
            return "only models of the classes Functional and Sequential have one"
        if capability is HasLearningRate and self.rates.unused:
            return f"train_step makes no update with the optimizer {self._model.optimizer.name!r} that is compiled"
        return why_not_settable(self.model) if capability is HasLearningRate else None

    def draws_progress(self) -> bool:
        """Return whether ``fit`` trains the model."""
        return self.in_fit

    def reports_means(self) -> bool:
        """Return whether ``fit`` trains the model: its logs are means."""
        return self.in_fit

    def ranks(self) -> Ranks | None:
        """Return the processes of torch's default process group, or those that JAX has connected; None for one."""
        return ranks(self.timeout)

    def suffixes(self, *, weights_only: bool) -> Sequence[str]:
        """Return Keras's suffixes; a file with another suffix has the format of the first one."""
        return (".weights.h5",) if weights_only else (".keras", ".h5")

    @local_assign()
    def save(self, path: Path, *, weights_only: bool) -> object:
        """Write the model with its optimizer, or only the weights, to which Keras adds the optimizer's state too.

        Returns:
            The digest of the file's content, if the format provides it.

        Raises:
            CheckpointError: The model has no weights yet.
        """
        if self.saves_in_background(path.name):
            return saving.record_model(self.model, None, weights_only=weights_only)(path)
        if not WHY_NOT and path.suffix == ".h5":
            return saving.write_legacy(self.model, path)
        suffix = ".weights.h5" if weights_only else ".h5" if path.suffix == ".h5" else ".keras"
        named = path.with_name(f"{path.name}{suffix}")  # Keras finds the format by the suffix
        (self.model.save_weights if weights_only else self.model.save)(str(named), overwrite=True)
        named.replace(path)
        return None

    @local_assign()
    def snapshot_writer(self, *, weights_only: bool) -> Callable[[Path], object]:
        """Return a function that writes the current state, which is copied into main memory.

        The copy replaces the one of the last call.

        Raises:
            CheckpointError: As for ``save``.
        """
        return saving.record_model(self.model, self._buffers, weights_only=weights_only)

    def saves_in_background(self, name: str) -> bool:
        """Return False for a legacy ``.h5`` model, which Keras writes while it traverses the model."""
        return not WHY_NOT and (name.endswith(".weights.h5") or not name.endswith(".h5"))

    @local_assign()
    def load(self, path: Path) -> None:
        """Load the weights and, except from a legacy ``.h5`` model, the optimizer's state.

        Raises:
            UnreadableCheckpoint: Keras did not write the file, or it is damaged; nothing was changed.
            CheckpointError: It is the file of another model, or has another optimizer's state, or the model has no
                weights yet; nothing was changed.
        """
        if not self.model.built and self.batch is not None:
            self.model._symbolic_build(data_batch=self.batch)
        load_file(self.model, path)
        self._finalize()

    def snapshot(self) -> list[np.ndarray[Any, Any]]:
        """Return copies of all weights, including non-trainable ones, and of the optimizer's averages (``use_ema``)."""
        return snapshot_of(self.model)

    @local_assign()
    def restore(self, snapshot: Sequence[np.ndarray[Any, Any]]) -> None:
        """Restore weights and averages; the rest of the optimizer's state stays.

        Raises:
            CheckpointError: The model's structure has changed since; nothing was restored.
        """
        restore_snapshot(self.model, snapshot)
        self._finalize()

    def run_state(self) -> Sequence[Any]:
        """Return the running metrics of the epoch, which no file holds."""
        return [_array(variable) for variable in self.model.metrics_variables]

    @local_assign()
    def load_run_state(self, state: Sequence[Any]) -> None:
        """Restore the running metrics if the model has the same number of them."""
        variables = self.model.metrics_variables
        if len(variables) == len(state):
            for variable, value in zip(variables, state, strict=True):
                variable.assign(value)

    def random_state(self) -> Mapping[str, Any]:
        """Return the state of Keras's seed generators, and on the torch backend of torch's generators."""
        return random_state(self.model)

    @local_assign()
    def set_random_state(self, state: Mapping[str, Any]) -> None:
        """Restore the state of the generators."""
        set_random_state(self.model, state)

    def build(self, data: Any) -> None:
        """Create the metrics' variables, which ``fit`` otherwise does in its first step."""
        compiled = getattr(self._model, "_compile_metrics", None)
        if compiled is not None and not compiled.built:
            self._model._symbolic_build(data_batch=data)

    def learning_rates(self) -> Mapping[str, float]:
        """Return a single rate as "learning_rate", those of a ``MultiOptimizer`` as "learning_rate/<optimizer>"."""
        return {} if self.rates.unused else rates_of(self.model)

    def rounded_learning_rates(self, rates: Mapping[str, float]) -> Mapping[str, float]:
        """Return the rates in the data type of the optimizers' variables: 0.001 as 0.0010000000474974513."""
        return rounded_rates(self.model, rates)

    def hold_learning_rates(self) -> Mapping[str, float]:
        """Return the current rates; an update of ``fit`` replaces them by the rates that it uses."""
        self.sync()
        return self.rates.hold()

    def release_learning_rates(self) -> None:
        """Stop storing rates."""
        self.rates.release()

    def follow_schedules(
        self, epoch: int, rates: Mapping[str, float] | None = None
    ) -> Callable[[], Mapping[str, float] | None]:
        """Return a function that returns the rates that Keras's LearningRateScheduler would have set from now on."""
        self.sync()
        return self.rates.follow(epoch, rates)

    def what_changes(self, name: str) -> str:
        """Describe what else may have changed a rate: other Keras callbacks, or ``train_step``."""
        return self.rates.what_changes()

    @local_assign()
    def set_learning_rates(self, rates: Mapping[str, float]) -> None:
        """Assign the optimizers' variables, and read them back.

        Raises:
            SettingsError: A rate cannot be set, or the variable's data type cannot represent the change.
        """
        set_rates(self.model, rates)

    def optimizer_options(self) -> Mapping[str, Any]:
        """Return the options of the optimizers except learning rates, named as the rates are."""
        return options_of(self._model)

    def direction_of(self, metric: str) -> Literal["min", "max"] | None:
        """Return the direction of the metric object that logs under this name; losses are to be minimized."""
        return declared_direction(self.model, metric)

    def weights(self) -> Iterator[tuple[str, np.ndarray[Any, Any]]]:
        """Yield every weight, including non-trainable ones, under its path in the model."""
        return named_weights(self.model)

    def graph(self) -> Sequence[Node]:
        """Return a node for each layer, with inner models as name scopes; subclassed models have no edges."""
        taken = set[str]()
        return [node._replace(name=unique(node.name, taken)) for node in layer_nodes(self._model)]

    def config(self) -> str:
        """Return the model's JSON description, as ``to_json`` writes it."""
        json: str = self._model.to_json()
        return json

    def activations(self, batch_size: int) -> Iterator[tuple[str, Any]]:
        """Yield the outputs of each layer for the validation data; layers of inner models are in their scopes.

        Several outputs of one layer have their numbers in their names.
        """
        data, steps = self._validation
        return activations(self.model, data, batch_size, steps)

    def hold_gradients(self) -> Callable[[], Iterable[tuple[str, Any]]]:
        """Return a function that yields the gradients of the last update, which the torch backend keeps."""
        return lambda: gradients_of(self._model)

    def iterations(self) -> int | None:
        """Return the number of weight updates that the optimizer has ever made; None without an optimizer."""
        optimizer = getattr(self.model, "optimizer", None)
        return None if optimizer is None else int(as_number(optimizer.iterations))

    def samples(self) -> float:
        """Return the number of samples in the running metrics, which the model's loss counts; 0 if unknown."""
        count = getattr(getattr(self.model, "_loss_tracker", None), "count", None)
        return 0.0 if count is None else float(_array(count))

    @property
    def has_global_metrics(self) -> bool:
        """Whether the running metrics include the samples of all processes."""
        return has_global_metrics()

    @property
    def skips_updates(self) -> bool:
        """Whether a step may leave the weights unchanged: gradients are accumulated, or may be infinite."""
        optimizers = [getattr(self._model, "optimizer", None), *optimizers_of(self.model)]
        return any(
            isinstance(each, keras.optimizers.LossScaleOptimizer)
            or getattr(each, "gradient_accumulation_steps", None) is not None
            for each in optimizers
        )

    def _finalize(self) -> None:
        if self.finalized and averages_of(self.model):
            self._model.optimizer.finalize_variable_values(self._model.trainable_variables)


def _array(value: Any) -> Any:
    return keras.ops.convert_to_numpy(value)
