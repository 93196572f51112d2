"""A Keras model as the subject of a run."""

# Keras declares no types, and tells nobody but its own classes of calls between layers and of what fit was given
# ruff: noqa: SLF001
# pyright: basic, reportAttributeAccessIssue=false

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple
from zipfile import BadZipFile

import numpy as np

from trainbus import CheckpointError, MissingDependency, SettingsError
from trainbus.capabilities import (
    BackgroundSaveable,
    HasActivations,
    HasConfig,
    HasGradients,
    HasLearningRate,
    Node,
    Ranks,
    Saveable,
    Snapshotable,
)
from trainbus.checkpoints.host_buffers import HostBuffers
from trainbus.metrics.names import resolve, unique

try:
    import keras
except ImportError as error:
    raise MissingDependency(
        f"{error}; pip install 'trainbus[keras]' and a backend (torch, jax or tensorflow), and name it in KERAS_BACKEND"
    ) from error

from .activations import activations, why_unreadable
from .layer_graph import is_chart, nodes_of
from .processes import alone, is_sharded, ranks, same_on_all
from .rng import random_state, set_random_state

try:
    from . import files as keras_file
except ImportError as error:  # what it builds on is Keras's own affair, and may be another's in a later version
    WHY_NOT = str(error)
else:
    WHY_NOT = ""

__all__ = ["KerasSubject"]


class Snapshot(NamedTuple):
    """A model's weights in host memory."""

    weights: list[np.ndarray[Any, Any]]
    averages: list[np.ndarray[Any, Any]]
    """The optimizer's moving averages of the weights (`use_ema`)."""


class KerasSubject:
    """A Keras model as the subject of a run.

    Whole models are written as `.keras` (or legacy `.h5`) for `keras.models.load_model`, weights as `.weights.h5` for
    `model.load_weights`.

    Args:
        model: any model; its learning rates are those of the optimizer that it is compiled with.
        validation_data: what its layers are looked at with, in the forms that `fit` takes.
        validation_steps: batches of a data set to look at; None for all.
        timeout: seconds that one of several processes waits for the others before it gives them up.

    Raises:
        SettingsError: it is no `keras.Model`.
    """

    def __init__(
        self, model: Any, *, validation_data: Any = None, validation_steps: int | None = None, timeout: float = 1800
    ) -> None:
        if not isinstance(model, keras.Model):
            raise SettingsError(f"KerasSubject takes a keras.Model; this is a {type(model).__name__}")
        self._model = model
        self._buffers = None if WHY_NOT else HostBuffers()
        self._validation = validation_data, validation_steps
        self.timeout = timeout
        self.finalized = False
        """Whether the optimizer's moving averages took the place of the weights, as `fit` does when it ends; what is
        restored from then on is finalized too."""

    @property
    def model(self) -> Any:
        """The model, its variables up to date: while JAX trains, they lie elsewhere."""
        if hasattr(self._model, "jax_state_sync"):
            self._model.jax_state_sync()
        return self._model

    def refusal(self, capability: type) -> str | None:
        """What this model lacks: a rate that can be set, data to look at, gradients, a description of its layers."""
        if capability is BackgroundSaveable and WHY_NOT:
            return WHY_NOT
        if capability is HasActivations:
            return why_unreadable(self._validation[0])
        if capability is HasGradients and keras.backend.backend() != "torch":
            return f"Keras keeps no gradients on the backend {keras.backend.backend()!r}; it does on 'torch'"
        if capability in (Saveable, Snapshotable) and is_sharded(self.model):
            return "its weights are sharded over several processes, and none of them has all"
        if capability is HasConfig and not is_chart(self._model):
            return "only models of the classes Functional and Sequential have one"
        if capability is not HasLearningRate:
            return None
        optimizers = self._optimizers()
        for optimizer in optimizers:
            if not isinstance(optimizer.learning_rate, keras.Variable):
                given = getattr(optimizer, "_learning_rate", optimizer.learning_rate)
                return (
                    f"the learning rate of the optimizer {optimizer.name!r} is given by {type(given).__name__!r} and "
                    "cannot be set; compile the model with a number as learning_rate"
                )
        return None if optimizers else "the model is not compiled with an optimizer"

    def ranks(self) -> Ranks | None:
        """The processes of torch's default process group, or those that JAX has connected; None for one alone."""
        return ranks(self.timeout)

    def suffixes(self, *, weights_only: bool) -> Sequence[str]:
        """Keras's own."""
        return (".weights.h5",) if weights_only else (".keras", ".h5")

    @alone()
    def save(self, path: Path, *, weights_only: bool) -> object:
        """Write the model with its optimizer, or only the weights; Keras adds the optimizer's state to these too.

        Raises:
            CheckpointError: the model has no weights yet.
        """
        if self.saves_in_background(path.name):
            return keras_file.recorded(self.model, None, weights_only=weights_only)(path)
        if not WHY_NOT and path.suffix == ".h5":
            return keras_file.write_legacy(self.model, path)
        if weights_only:
            self.model.save_weights(str(path), overwrite=True)
        else:
            self.model.save(str(path), overwrite=True)
        return None

    @alone()
    def snapshot_writer(self, *, weights_only: bool) -> Callable[[Path], object]:
        """What writes the model as it is now: a copy in main memory, in the place of the last one.

        Raises:
            CheckpointError: as `save`.
        """
        return keras_file.recorded(self.model, self._buffers, weights_only=weights_only)

    def saves_in_background(self, name: str) -> bool:
        """Not a legacy `.h5` model, which Keras writes while it walks through it."""
        return not WHY_NOT and (name.endswith(".weights.h5") or not name.endswith(".h5"))

    @alone()
    def load(self, path: Path) -> None:
        """Take over weights and, except from a legacy `.h5` model, the optimizer's state.

        Raises:
            UnreadableCheckpoint: Keras did not write the file, or it is damaged; nothing was changed then.
            CheckpointError: Keras wrote it of another model.
        """
        if not WHY_NOT:
            keras_file.check_readable(path)
        model = self.model
        optimizer = getattr(model, "optimizer", None)
        if optimizer is not None and not optimizer.built:  # Keras skips the state of an optimizer that is not built
            optimizer.build(model.trainable_variables)
        try:
            model.load_weights(str(path))
        except (ValueError, KeyError, OSError, BadZipFile) as error:
            told = f"another model's, or no file of Keras's: {type(error).__name__}: {error}"
            raise CheckpointError(f"{str(path)!r} does not fit this model; it is {told}") from error
        self._finalize()

    def snapshot(self) -> Snapshot:
        """Copies of all weights, those that are not trained included, and of the optimizer's averages of them."""
        weights = self.model.weights
        return Snapshot([_copy(each) for each in weights], [_copy(each) for each in self._averages()])

    @alone()
    def restore(self, snapshot: Snapshot) -> None:
        """Bring weights and averages back; the rest of the optimizer's state stays."""
        pairs = [(self.model.weights, snapshot.weights), (self._averages(), snapshot.averages)]
        for variables, values in pairs:
            for variable, value in zip(variables, values, strict=True):
                variable.assign(value)
        self._finalize()

    def run_state(self) -> Sequence[Any]:
        """The running metrics of the epoch, which no file holds."""
        return [_array(variable) for variable in self.model.metrics_variables]

    @alone()
    def load_run_state(self, state: Sequence[Any]) -> None:
        """Bring the running metrics back, where they are as many."""
        variables = self.model.metrics_variables
        if len(variables) == len(state):
            for variable, value in zip(variables, state, strict=True):
                variable.assign(value)

    def random_state(self) -> Mapping[str, Any]:
        """Where Keras's own generators of seeds stand, and on the torch backend torch's generators."""
        return random_state(self.model)

    @alone()
    def set_random_state(self, state: Mapping[str, Any]) -> None:
        """Bring them back."""
        set_random_state(self.model, state)

    def build(self, data: Any) -> None:
        """Let the metrics have their variables, which `fit` else makes in the first step."""
        compiled = getattr(self._model, "_compile_metrics", None)
        if compiled is not None and not compiled.built:
            self._model._symbolic_build(data_batch=data)

    def learning_rates(self) -> Mapping[str, float]:
        """The one as "learning_rate", those of a `MultiOptimizer` as "learning_rate/<name of the optimizer>"."""
        return {name: _number(optimizer.learning_rate) for name, optimizer in self._rates()}

    @alone()
    def set_learning_rates(self, rates: Mapping[str, float]) -> None:
        """Assign the optimizers' variables, and read them back.

        Raises:
            SettingsError: a rate cannot be set, or the optimizer's type of number cannot tell the new one from the old.
        """
        why = self.refusal(HasLearningRate)
        if why:
            raise SettingsError(f"the learning rate was not changed: {why}")
        for name, optimizer in self._rates():
            if name not in rates:
                continue
            old = _number(optimizer.learning_rate)
            optimizer.learning_rate.assign(rates[name])
            new = _number(optimizer.learning_rate)
            if abs(new - rates[name]) > abs(new - old):
                raise SettingsError(f"{name} was set to {rates[name]!r}, yet it is {new!r}, before it was {old!r}")

    def direction_of(self, metric: str) -> Literal["min", "max"] | None:
        """What the metric object that logs under this name declares; losses are to be minimized."""
        model = self.model
        known: dict[str, str | None] = {"loss": "down"}
        losses = getattr(model, "_compile_loss", None)
        known |= {each.name: "down" for each in getattr(losses, "metrics", ())}
        compiled: Any = getattr(model, "_compile_metrics", None)
        for each in model.metrics:
            if each is compiled:
                # its results stand in the order of its metrics, under the names that are logged (`a_accuracy`)
                pairs = zip(each.result() if each.built else (), each.metrics, strict=False)
                known |= {name: getattr(inner, "_direction", None) for name, inner in pairs}
            else:
                known.setdefault(each.name, getattr(each, "_direction", None))
        known |= {f"val_{name}": direction for name, direction in known.items()}
        name = resolve(metric, known)
        direction = None if name is None else known[name]
        return {"up": "max", "down": "min"}.get(direction)  # type: ignore[arg-type, return-value]

    def weights(self) -> Iterator[tuple[str, np.ndarray[Any, Any]]]:
        """Every weight under its path in the model, those that are not trained included."""
        taken = set[str]()
        for variable in self.model.weights:
            array = _array(variable)
            # NumPy itself has no bfloat16 and no float8
            yield unique(variable.path, taken), array if array.dtype.kind in "biufc" else array.astype("float32")

    def graph(self) -> Sequence[Node]:
        """A node for each layer, with models inside as name scopes; without edges where layers are called freely."""
        taken = set[str]()
        return [node._replace(name=unique(node.name, taken)) for node in nodes_of(self._model)]

    def config(self) -> str:
        """As `to_json` writes it."""
        json: str = self._model.to_json()
        return json

    def activations(self, batch_size: int) -> Iterator[tuple[str, Any]]:
        """What each layer puts out for the validation data, those of models inside in their scopes.

        What comes out of a layer in several parts has their numbers in its names.
        """
        data, steps = self._validation
        return activations(self.model, data, batch_size, steps)

    def hold_gradients(self) -> Callable[[], Iterable[tuple[str, Any]]]:
        """Those of the last update, which the torch backend keeps until the next one."""
        return self._gradients

    def _gradients(self) -> Iterator[tuple[str, Any]]:
        taken = set[str]()
        trained = {id(variable) for variable in self._model.trainable_variables}
        for variable in self._model.weights:
            name = unique(variable.path, taken)
            gradient = variable.value.grad if id(variable) in trained else None
            if gradient is not None:
                yield name, np.array(gradient.detach().float().cpu())

    def iterations(self) -> int | None:
        """Weight updates that the optimizer has made in its life; None without one."""
        optimizer = getattr(self.model, "optimizer", None)
        return None if optimizer is None else int(_number(optimizer.iterations))

    def samples(self) -> float:
        """How many samples the running metrics are those of, as far as the model's loss counts them; else 0."""
        count = getattr(getattr(self.model, "_loss_tracker", None), "count", None)
        return 0.0 if count is None else float(_array(count))

    @property
    def same_on_all(self) -> bool:
        """Whether the running metrics are those of all processes' samples."""
        return same_on_all()

    @property
    def skips_updates(self) -> bool:
        """Whether a step may leave the weights as they are: gradients are accumulated, or may be infinite."""
        optimizers = [getattr(self._model, "optimizer", None), *self._optimizers()]
        return any(
            isinstance(each, keras.optimizers.LossScaleOptimizer)
            or getattr(each, "gradient_accumulation_steps", None) is not None
            for each in optimizers
        )

    def _optimizers(self) -> list[Any]:
        optimizer = getattr(self.model, "optimizer", None)
        optimizer = getattr(optimizer, "inner_optimizer", optimizer)  # of a LossScaleOptimizer
        if optimizer is None:
            return []
        return list(optimizer.optimizers) if hasattr(optimizer, "optimizers") else [optimizer]

    def _rates(self) -> Iterator[tuple[str, Any]]:
        optimizers = self._optimizers()
        taken = set[str]()
        for optimizer in optimizers:
            name = f"learning_rate/{unique(optimizer.name, taken)}"
            yield name if len(optimizers) > 1 else "learning_rate", optimizer

    def _averages(self) -> list[Any]:
        held = [getattr(each, "_model_variables_moving_average", ()) for each in self._optimizers() if each.use_ema]
        return [average for averages in held for average in averages if average is not None]

    def _finalize(self) -> None:
        if self.finalized and self._averages():
            self._model.optimizer.finalize_variable_values(self._model.trainable_variables)


def _array(value: Any) -> Any:
    return keras.ops.convert_to_numpy(value)


def _copy(variable: Any) -> np.ndarray[Any, Any]:
    return np.array(_array(variable), copy=True)


def _number(value: Any) -> float:
    """The shortest decimal that the value's type of number takes for it: 0.001, not 0.0010000000474974513.

    A rate that was set to a floor is then equal to the floor, and not above it by an error of rounding.
    """
    return float(str(_array(value)[()]))
