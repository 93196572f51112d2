"""The libraries that dispatch events of batches, each in a class of the same interface.

A peer is made for a number of listeners, which listen to batches or only to epochs; calling it iterates once over the
items and reports the begin and the end of each. A listener's begin takes the batch, its end the batch and the metrics,
or whatever its library passes instead; its bodies are ``pass``. A library that is not installed raises ImportError.
"""

from __future__ import annotations

import atexit
import logging
import os
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

from trainbus import Run, hookimpl

__all__ = ["PEERS", "BareLoop", "Peer", "TrainbusEvents", "TrainbusLoop"]

METRICS = {"loss": 0.5, "accuracy": 0.75}


class Peer(ABC):
    """A loop over batches that calls listeners."""

    name: str
    package: str

    @abstractmethod
    def __init__(self, listeners: int, *, hear_batches: bool) -> None: ...

    def __call__(self, items: Sequence[int]) -> None:
        """Report the begin and the end of each item as a batch."""
        self._go(items)

    @abstractmethod
    def _go(self, items: Sequence[int]) -> None: ...


class BareLoop(Peer):
    """A loop that calls no listener."""

    name, package = "bare loop", "trainbus"

    def __init__(self, listeners: int = 0, *, hear_batches: bool = False) -> None:
        pass

    def _go(self, items: Sequence[int]) -> None:
        for _ in items:
            pass


class _BatchListener:
    @hookimpl
    def on_batch_begin(self, batch: int) -> None:
        pass

    @hookimpl
    def on_batch_end(self, batch: int, metrics: Any) -> None:
        pass


class _EpochListener:
    @hookimpl
    def on_epoch_end(self, epoch: int, metrics: Any) -> None:
        pass


class _Trainbus(Peer):
    package = "trainbus"

    def __init__(self, listeners: int, *, hear_batches: bool) -> None:
        self.run = Run(callbacks=[_BatchListener() if hear_batches else _EpochListener() for _ in range(listeners)])
        self.run.begin()
        atexit.register(self.run.end)
        self.run.begin_epoch(0)


class TrainbusLoop(_Trainbus):
    """A loop written by hand."""

    name = "trainbus, `run.batches(loader)`"

    def _go(self, items: Sequence[int]) -> None:
        for _ in self.run.batches(items):
            pass


class TrainbusEvents(_Trainbus):
    """A loop as adapters drive it."""

    name = "trainbus, `begin_batch` + `end_batch`"

    def _go(self, items: Sequence[int]) -> None:
        run, metrics = self.run, METRICS
        for item in items:
            run.begin_batch(item)
            run.end_batch(item, metrics)


class PluggyCall(Peer):
    """pluggy's own hook call, given only what the listeners take."""

    name, package = "pluggy", "pluggy"

    def __init__(self, listeners: int, *, hear_batches: bool) -> None:
        import pluggy

        specified, implemented = pluggy.HookspecMarker("bench"), pluggy.HookimplMarker("bench")

        class Specification:
            @specified
            def on_batch_begin(self, batch: int) -> None: ...
            @specified
            def on_batch_end(self, batch: int, metrics: Any) -> None: ...
            @specified
            def on_epoch_end(self, epoch: int, metrics: Any) -> None: ...

        class BatchListener:
            @implemented
            def on_batch_begin(self, batch: int) -> None:
                pass

            @implemented
            def on_batch_end(self, batch: int, metrics: Any) -> None:
                pass

        class EpochListener:
            @implemented
            def on_epoch_end(self, epoch: int, metrics: Any) -> None:
                pass

        manager = pluggy.PluginManager("bench")
        manager.add_hookspecs(Specification)
        for _ in range(listeners):
            manager.register(BatchListener() if hear_batches else EpochListener())
        self.hook = manager.hook

    def _go(self, items: Sequence[int]) -> None:
        hook, metrics = self.hook, METRICS
        for item in items:
            hook.on_batch_begin(batch=item)
            hook.on_batch_end(batch=item, metrics=metrics)


class CachedPluggyCall(PluggyCall):
    """pluggy's hook call on hooks that are fetched once before the loop."""

    name = "pluggy, cached hooks"

    def _go(self, items: Sequence[int]) -> None:
        begin, end, metrics = self.hook.on_batch_begin, self.hook.on_batch_end, METRICS
        for item in items:
            begin(batch=item)
            end(batch=item, metrics=metrics)


class IgniteEngine(Peer):
    """Ignite's events, without its loop."""

    name, package = "Ignite", "pytorch-ignite"

    def __init__(self, listeners: int, *, hear_batches: bool) -> None:
        from ignite.engine import Engine, Events

        self.engine = Engine(lambda engine, batch: None)
        self.events = Events.ITERATION_STARTED, Events.ITERATION_COMPLETED

        def listener(engine: Engine) -> None:
            pass

        for _ in range(listeners):
            for event in self.events if hear_batches else [Events.EPOCH_COMPLETED]:
                self.engine.add_event_handler(event, listener)

    def _go(self, items: Sequence[int]) -> None:
        fire, (started, completed) = self.engine._fire_event, self.events  # as its own loop does
        for _ in items:
            fire(started)
            fire(completed)


class SkorchNotify(Peer):
    """skorch's ``notify``, without its own callbacks."""

    name, package = "skorch", "skorch"

    def __init__(self, listeners: int, *, hear_batches: bool) -> None:
        import torch
        from skorch import NeuralNet
        from skorch.callbacks import Callback

        class BatchListener(Callback):
            def on_batch_begin(self, net: Any, batch: Any = None, training: Any = None, **_: Any) -> None:
                pass

            def on_batch_end(self, net: Any, batch: Any = None, training: Any = None, **_: Any) -> None:
                pass

        class EpochListener(Callback):
            def on_epoch_end(self, net: Any, **_: Any) -> None:
                pass

        self.net: Any = NeuralNet(torch.nn.Linear, torch.nn.MSELoss, module__in_features=1, module__out_features=1)
        self.net.initialize()
        self.net.callbacks_ = [
            (f"listener{number}", BatchListener() if hear_batches else EpochListener()) for number in range(listeners)
        ]

    def _go(self, items: Sequence[int]) -> None:
        notify, metrics = self.net.notify, METRICS
        self.net.initialize_history()  # to which the net itself adds a line per batch
        self.net.history.new_epoch()
        for item in items:
            notify("on_batch_begin", batch=item, training=True)
            notify("on_batch_end", batch=item, training=True, **metrics)


class LightningHooks(Peer):
    """The callback hooks of Lightning's training loop, without the module's and the strategy's."""

    name, package = "Lightning", "lightning"

    def __init__(self, listeners: int, *, hear_batches: bool) -> None:
        import torch

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import lightning.pytorch as lightning
            from lightning.pytorch.trainer.call import _call_callback_hooks

            class BatchListener(lightning.Callback):
                def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
                    pass

                def on_train_batch_end(
                    self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
                ) -> None:
                    pass

            class EpochListener(lightning.Callback):
                def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
                    pass

            class Module(lightning.LightningModule):
                def __init__(self) -> None:
                    super().__init__()
                    self.layer = torch.nn.Linear(1, 1)

            logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
            self.trainer = lightning.Trainer(
                accelerator="cpu",
                logger=False,
                enable_checkpointing=False,
                enable_progress_bar=False,
                enable_model_summary=False,
            )
            self.trainer.callbacks = [BatchListener() if hear_batches else EpochListener() for _ in range(listeners)]
            self.trainer.strategy.connect(Module())
        self.call: Callable[..., None] = _call_callback_hooks

    def _go(self, items: Sequence[int]) -> None:
        call, trainer, metrics = self.call, self.trainer, METRICS
        for item in items:
            call(trainer, "on_train_batch_start", item, item)
            call(trainer, "on_train_batch_end", metrics, item, item)


class TransformersHandler(Peer):
    """The callback handler of Hugging Face's Trainer."""

    name, package = "HF Transformers", "transformers"

    def __init__(self, listeners: int, *, hear_batches: bool) -> None:
        from transformers.trainer_callback import CallbackHandler, TrainerCallback, TrainerControl, TrainerState
        from transformers.utils.logging import set_verbosity_error

        set_verbosity_error()  # it misses a callback that only its own Trainer needs

        class BatchListener(TrainerCallback):
            def on_step_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
                pass

            def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
                pass

        class EpochListener(TrainerCallback):
            def on_epoch_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
                pass

        # it warns of several callbacks of one class, so each gets its own class
        kind = BatchListener if hear_batches else EpochListener
        callbacks = [type(f"Listener{number}", (kind,), {})() for number in range(listeners)]
        self.handler: Any = CallbackHandler([], None, None, None, None)
        self.handler.callbacks = callbacks
        self.state, self.control = TrainerState(), TrainerControl()

    def _go(self, items: Sequence[int]) -> None:
        begin, end, state, control = self.handler.on_step_begin, self.handler.on_step_end, self.state, self.control
        for _ in items:
            begin(None, state, control)
            end(None, state, control)


class KerasList(Peer):
    """Keras's list of callbacks."""

    name, package = "Keras", "keras"

    def __init__(self, listeners: int, *, hear_batches: bool) -> None:
        os.environ.setdefault("KERAS_BACKEND", "torch")
        import keras

        class BatchListener(keras.callbacks.Callback):
            def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
                pass

            def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
                pass

        class EpochListener(keras.callbacks.Callback):
            def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
                pass

        callbacks = [BatchListener() if hear_batches else EpochListener() for _ in range(listeners)]
        self.callbacks = keras.callbacks.CallbackList(callbacks)

    def _go(self, items: Sequence[int]) -> None:
        # in an executor's threads where no plugin listens to batches, which this begins and waits for
        self.callbacks.on_train_begin()
        begin, end, metrics = self.callbacks.on_train_batch_begin, self.callbacks.on_train_batch_end, METRICS
        for item in items:
            begin(item)
            end(item, metrics)
        self.callbacks.on_train_end()


PEERS: tuple[type[Peer], ...] = (
    PluggyCall,
    CachedPluggyCall,
    TransformersHandler,
    IgniteEngine,
    SkorchNotify,
    LightningHooks,
    KerasList,
)
