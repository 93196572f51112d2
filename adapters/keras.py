"""Keras 3, on any backend: a model as a subject, and a Keras callback that makes a run of every `fit`."""

# Keras declares no types, and tells nobody but its own classes of calls between layers and of what fit was given
# ruff: noqa: SLF001
# pyright: basic, reportAttributeAccessIssue=false

from __future__ import annotations

import functools
import sys
import weakref
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import Any, Literal, NamedTuple, TypeVar

import keras  # type: ignore[import-untyped]
import numpy as np

import trainbus
from trainbus import Decision, LoopError, Run, SettingsError
from trainbus.capabilities import HasLearningRate, Node
from trainbus.names import resolve

__all__ = ["KerasCallback", "KerasSubject"]

F = TypeVar("F", bound=Callable[..., Any])


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

    Raises:
        SettingsError: it is no `keras.Model`.
    """

    def __init__(self, model: Any) -> None:
        if not isinstance(model, keras.Model):
            raise SettingsError(f"KerasSubject takes a keras.Model; this is a {type(model).__name__}")
        self._model = model
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
        """No learning rate can be changed without an optimizer, or where a schedule or a function gives it."""
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

    def suffixes(self, *, weights_only: bool) -> Sequence[str]:
        """Keras's own."""
        return (".weights.h5",) if weights_only else (".keras", ".h5")

    def save(self, path: Path, *, weights_only: bool) -> None:
        """Write the model with its optimizer, or only the weights; Keras adds the optimizer's state to these too."""
        if weights_only:
            self.model.save_weights(str(path), overwrite=True)
        else:
            self.model.save(str(path), overwrite=True)

    def load(self, path: Path) -> None:
        """Take over weights and, except from a legacy `.h5` model, the optimizer's state."""
        model = self.model
        optimizer = getattr(model, "optimizer", None)
        if optimizer is not None and not optimizer.built:  # Keras skips the state of an optimizer that is not built
            optimizer.build(model.trainable_variables)
        model.load_weights(str(path))
        self._finalize()

    def snapshot(self) -> Snapshot:
        """Copies of all weights, those that are not trained included, and of the optimizer's averages of them."""
        weights = self.model.weights
        return Snapshot([_copy(each) for each in weights], [_copy(each) for each in self._averages()])

    def restore(self, snapshot: Snapshot) -> None:
        """Bring weights and averages back; the rest of the optimizer's state stays."""
        pairs = [(self.model.weights, snapshot.weights), (self._averages(), snapshot.averages)]
        for variables, values in pairs:
            for variable, value in zip(variables, values, strict=True):
                variable.assign(value)
        self._finalize()

    def learning_rates(self) -> Mapping[str, float]:
        """The one as "learning_rate", those of a `MultiOptimizer` as "learning_rate/<name of the optimizer>"."""
        return {name: _number(optimizer.learning_rate) for name, optimizer in self._rates()}

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
        taken: dict[str, int] = {}
        for variable in self.model.weights:
            array = keras.ops.convert_to_numpy(variable)
            # NumPy itself has no bfloat16 and no float8
            yield _unique(variable.path, taken), array if array.dtype.kind in "biufc" else array.astype("float32")

    def graph(self) -> Sequence[Node]:
        """A node for each layer, with models inside as name scopes; without edges where layers are called freely."""
        taken: dict[str, int] = {}
        return [node._replace(name=_unique(node.name, taken)) for node in _graph(self._model, "")]

    def iterations(self) -> int | None:
        """Weight updates that the optimizer has made in its life; None without one."""
        optimizer = getattr(self.model, "optimizer", None)
        return None if optimizer is None else int(_number(optimizer.iterations))

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
        taken: dict[str, int] = {}
        for optimizer in optimizers:
            name = f"learning_rate/{_unique(optimizer.name, taken)}"
            yield name if len(optimizers) > 1 else "learning_rate", optimizer

    def _averages(self) -> list[Any]:
        held = [getattr(each, "_model_variables_moving_average", ()) for each in self._optimizers() if each.use_ema]
        return [average for averages in held for average in averages if average is not None]

    def _finalize(self) -> None:
        if self.finalized and self._averages():
            self._model.optimizer.finalize_variable_values(self._model.trainable_variables)


def _unique(name: str, taken: dict[str, int]) -> str:
    """The name, numbered if it is taken already."""
    taken[name] = taken.get(name, 0) + 1
    return name if taken[name] == 1 else f"{name}_{taken[name]}"


def _copy(variable: Any) -> np.ndarray[Any, Any]:
    return np.array(keras.ops.convert_to_numpy(variable), copy=True)


def _number(value: Any) -> float:
    """The shortest decimal that the value's type of number takes for it: 0.001, not 0.0010000000474974513.

    A rate that was set to a floor is then equal to the floor, and not above it by an error of rounding.
    """
    return float(str(keras.ops.convert_to_numpy(value)[()]))


def _functional(operation: Any) -> Any:
    """The graph of calls inside a functional or a built sequential model, None for anything else."""
    if isinstance(operation, keras.Sequential):
        return getattr(operation, "_functional", None)
    return operation if isinstance(operation, keras.Model) and hasattr(operation, "_nodes_by_depth") else None


def _graph(model: Any, scope: str, sources: Sequence[tuple[str, ...]] = ()) -> Iterator[Node]:
    """The nodes of `model`, named inside `scope`; `sources` are the nodes that feed each of its inputs."""
    functional = _functional(model)
    if functional is None:
        before: tuple[str, ...] = ()
        for layer in model.layers:
            if isinstance(layer, keras.Model):
                yield from _graph(layer, f"{scope}{layer.name}/")
            else:
                yield _node(layer, scope, before)
            if isinstance(model, keras.Sequential):  # not built yet, but its layers follow one another
                before = (scope + layer.name,)
        return
    calls = {node for nodes in functional._nodes_by_depth.values() for node in nodes}
    fed = {
        tensor._keras_history.operation.name: names for tensor, names in zip(functional.inputs, sources, strict=False)
    }
    for operation in functional.operations:
        called = [node.input_tensors for node in operation._inbound_nodes if node in calls]
        # one node a layer, however often it is called: it takes whatever any of the calls takes
        incoming = [tuple(dict.fromkeys(_source(each, scope) for each in same)) for same in zip(*called, strict=False)]
        if _functional(operation) is not None:
            yield from _graph(operation, f"{scope}{operation.name}/", incoming)
        else:
            inputs = dict.fromkeys(name for names in incoming for name in names)
            yield _node(operation, scope, fed.get(operation.name, ()) or tuple(inputs))


def _source(tensor: Any, scope: str) -> str:
    """The name of the node that makes a symbolic tensor, sought inside nested models."""
    operation, _, index = tensor._keras_history
    functional = _functional(operation)
    if functional is None:
        return f"{scope}{operation.name}"
    return _source(functional.outputs[index], f"{scope}{operation.name}/")


def _node(layer: Any, scope: str, inputs: tuple[str, ...]) -> Node:
    attributes: dict[str, Any] = {}
    if isinstance(layer, keras.Layer):
        if layer.built and layer.weights:
            attributes["parameters"] = layer.count_params()
        attributes |= {"dtype": layer.dtype_policy.name, "trainable": layer.trainable}
    calls = getattr(layer, "_inbound_nodes", ())
    if calls:
        attributes["output_shape"] = ", ".join(str(tensor.shape) for tensor in calls[0].output_tensors)
    return Node(f"{scope}{layer.name}", type(layer).__name__, inputs, tuple((k, str(v)) for k, v in attributes.items()))


class _StopFit:
    """Tells Keras that a decision ends the training."""

    def __init__(self, model: Any) -> None:
        self.model = model

    @trainbus.hookimpl
    def on_decision(self, decision: Decision) -> None:
        if decision.stops:
            self.model.stop_training = True


class _Fit:
    """One call of `fit`, and its run."""

    def __init__(
        self, callbacks: Sequence[Any], model: Any, params: Mapping[str, Any], events: Any, given: Mapping[str, Any]
    ) -> None:
        self.subject = KerasSubject(model)
        self.run = Run(self.subject, [*callbacks, _StopFit(model)], progress=False)
        self.run.planned_epochs, self.run.planned_batches = params.get("epochs"), params.get("steps")
        self.run.validation_freq = _validation_freq(given)
        self.steers_rates = any(HasLearningRate in each.requires() for each in self.run.callbacks.values())
        self.open = True
        self.calls = self.batches = 0
        self.first_iteration = self.iteration = self.subject.iterations()
        # held weakly: once Keras's list of callbacks is gone, fit is over, whatever ended it
        self.events: Callable[[], Any] = lambda: None
        if events is not None:
            self.events = weakref.ref(events)
            self.net = weakref.finalize(events, self.lose)
        self.watch_steps(model)

    def watch_steps(self, model: Any) -> None:
        """Count the training steps of an epoch, and let what one raises end the run."""
        step = model.train_function

        def train_function(*args: Any) -> Any:
            try:
                logs = step(*args)
            except BaseException as error:
                # JAX and TensorFlow fetch the data in the step, and its end is no error
                if not isinstance(error, StopIteration) and type(error).__name__ != "OutOfRangeError":
                    self.end(error)
                raise
            self.calls += 1
            return logs

        self.unwatch: Callable[[], None] = lambda: None
        if step is not None:
            model.train_function = train_function

            def unwatch() -> None:
                if model.train_function is train_function:
                    model.train_function = step

            self.unwatch = unwatch

    def begin_epoch(self, epoch: int) -> None:
        """Nothing of the epoch is trained yet."""
        self.calls = self.batches = 0
        self.run.begin_epoch(epoch)

    def count(self, batch: int | None = None) -> int:
        """Take note of the batches trained on, the last one being `batch`, where batches are told.

        Returns the weight updates made since this was last asked.
        """
        done = self.calls * self.subject.model.steps_per_execution if batch is None else batch + 1
        done = min(done, self.run.planned_batches or sys.maxsize)  # the last of several steps in one need not be full
        done = max(done, self.batches)
        batches, self.batches, self.run.batch = done - self.batches, done, max(done - 1, 0)
        now = self.subject.iterations()
        if now is None or (now == self.first_iteration and not self.subject.skips_updates):
            return batches  # this train_step has optimizers of its own
        made, self.iteration = now - (self.iteration or 0), now
        return made

    def lose(self) -> None:
        """Fit has gone without a word."""
        self.end(LoopError("fit() was left by an error or an interrupt that no callback was told of"))

    def end(self, error: BaseException | None = None) -> None:
        """End the run, if it is open still."""
        if self.open:
            self.open = False
            self.unwatch()
            if self.events() is not None:
                self.net.detach()
            self.run.end(error)


def _ends_run(hook: F) -> F:
    """Let whatever the hook raises end the run before it goes on to `fit`, which would tell no callback."""

    @functools.wraps(hook)
    def guarded(self: KerasCallback, *args: Any, **kwargs: Any) -> Any:
        try:
            return hook(self, *args, **kwargs)
        except BaseException as error:
            self._end(error)
            raise

    return guarded  # type: ignore[return-value]


class KerasCallback(keras.callbacks.Callback):  # type: ignore[misc]
    """Lets one list of trainbus callbacks hear, and decide about, every `fit` that it is given to.

    ```python
    bus = KerasCallback([EarlyStopping(patience=3), ModelCheckpoint("best.keras", save_best_only=True)])
    model.fit(x, y, validation_data=(xv, yv), epochs=100, callbacks=[bus])
    print(bus.run.result)
    ```

    Each `fit` is a run of its own. `fit` draws its progress bar itself; decisions are printed as far as the callbacks'
    `verbose` asks for it. Where a callback steers learning rates, they go into Keras's logs too, as with Keras's own,
    so that `History` has them. Calls of `evaluate` and `predict` are not the run's business.

    An error in a callback or in a training step, and Ctrl-C in it, end the run at once. When the data or another Keras
    callback raises, `fit` tells nobody: the run then ends as soon as the error has been dealt with and its traceback
    let go, at the latest with the next `fit` or with Python.

    Args:
        callbacks: callbacks, as in `trainbus.Run`, or a single one.
    """

    def __init__(self, callbacks: Any = ()) -> None:
        super().__init__()
        self.callbacks: list[Any] = list(callbacks) if isinstance(callbacks, (list, tuple)) else [callbacks]
        self._fit: _Fit | None = None

    @property
    def run(self) -> Run:
        """The run of the present `fit`, or of the last one.

        Raises:
            LoopError: there was none yet.
        """
        if self._fit is None:
            raise LoopError("no run yet: it begins in model.fit(..., callbacks=[this KerasCallback])")
        return self._fit.run

    @_ends_run
    def on_train_begin(self, logs: Mapping[str, Any] | None = None) -> None:
        """A new run begins."""
        events = _events()
        if self._fit is not None and self._fit.open:
            outer = self._fit.events()
            if outer is not None and any(frame.f_locals.get("callbacks") is outer for frame in _frames()):
                raise LoopError("an outer fit() uses this KerasCallback already; make another one for the inner fit()")
            self._fit.lose()
        fit = self._fit = _Fit(self.callbacks, self.model, self.params or {}, events, _locals_of_fit(events))
        if fit.run.hears_batches:
            # Keras looks for overridden methods before a run can be made, so that a plugin's wish comes too late for
            # it; where nobody listens, nothing is overridden and no batch is slowed down
            self.__dict__ |= {"on_train_batch_begin": self._begin_batch, "on_train_batch_end": self._end_batch}
            if events is not None:
                events._async_train = False
        fit.run.begin()

    @_ends_run
    def on_epoch_begin(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        """The epoch, counted from 0, begins."""
        if (fit := self._fit) is not None and fit.open:
            fit.begin_epoch(epoch)

    @_ends_run
    def _begin_batch(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        if (fit := self._fit) is not None and fit.open:
            fit.run.begin_batch(batch)

    @_ends_run
    def _end_batch(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        if (fit := self._fit) is not None and fit.open:
            steps = fit.count(batch)
            fit.run.end_batch(fit.run.batch, logs or {}, steps=steps)

    @_ends_run
    def on_test_begin(self, logs: Mapping[str, Any] | None = None) -> None:
        """A validation begins, if it is the one of this `fit`."""
        if (fit := self._fit) is not None and fit.open and _events() is fit.events():
            fit.run.step += fit.count()
            fit.run.begin_validation()

    @_ends_run
    def on_test_end(self, logs: Mapping[str, Any] | None = None) -> None:
        """The validation is over, if it is the one of this `fit`."""
        if (fit := self._fit) is not None and fit.open and _events() is fit.events():
            fit.run.end_validation({f"val_{name}": value for name, value in (logs or {}).items()})

    @_ends_run
    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """The epoch is over; `logs` holds its metrics, those of a validation with `val_`."""
        if (fit := self._fit) is not None and fit.open:
            fit.run.step += fit.count()
            metrics = {**fit.subject.learning_rates(), **(logs or {})}
            if logs is not None and fit.steers_rates:
                logs.update(metrics)  # before a decision changes the rates, as Keras's own callback does
            fit.run.end_epoch(metrics)

    @_ends_run
    def on_train_end(self, logs: Mapping[str, Any] | None = None) -> None:
        """The run is over; `fit` has finalized the weights."""
        if self._fit is not None:
            self._fit.subject.finalized = True
        self._end()

    def _end(self, error: BaseException | None = None) -> None:
        for name in ("on_train_batch_begin", "on_train_batch_end"):
            self.__dict__.pop(name, None)
        if self._fit is not None:
            self._fit.end(error)


def _frames() -> Iterator[FrameType]:
    """The calls that led here, the innermost first."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        yield frame
        frame = frame.f_back


def _events() -> Any:
    """Keras's list of callbacks that tells the present event; None where there is none.

    It is one for each `fit`, which uses it for its validations too; any other `evaluate` has its own.
    """
    found = (frame.f_locals.get("self") for frame in _frames())
    return next((each for each in found if isinstance(each, keras.callbacks.CallbackList)), None)


def _locals_of_fit(events: Any) -> Mapping[str, Any]:
    """The local variables of the `fit` that uses `events`, from which alone a callback learns of its validations."""
    for frame in _frames():
        given = frame.f_locals
        if frame.f_code.co_name == "fit" and "validation_freq" in given and given.get("callbacks") is events:
            return given
    return {}


def _validation_freq(given: Mapping[str, Any]) -> int | Collection[int] | None:
    """Which epochs `fit` validates: none without validation data, None where it cannot be known."""
    if "validation_freq" not in given:
        return None
    return () if given["validation_data"] is None else given["validation_freq"]
