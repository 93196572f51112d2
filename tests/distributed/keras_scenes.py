"""Scenes of ranks that train one Keras model by ``fit``, on any backend that connects them.

``python -m tests.distributed.keras_scenes FOLDER`` is one rank, as in ``scenes``; KERAS_BACKEND names the backend. With
several devices, or processes, of JAX it trains under ``keras.distribution.DataParallel``.
"""

from __future__ import annotations

import hashlib
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import keras
import numpy as np

from trainbus import Run, hookimpl
from trainbus.adapters.keras import KerasCallback, KerasSubject
from trainbus.plugins import EarlyStopping, ModelCheckpoint, ReduceLROnPlateau
from trainbus.testing import EventRecorder

from .jobs import report

BACKEND = keras.backend.backend()
EPOCHS, BATCHES = 9, 4
SCENES: dict[str, Callable[[int, int], Any]] = {}


def scene(play: Callable[[int, int], Any]) -> Callable[[int, int], Any]:
    SCENES[play.__name__] = play
    return play


def model_of(size: int) -> Any:
    """Return a small network, the same on all ranks, with gradients averaged over all of them."""
    keras.utils.set_random_seed(1)
    layers = [keras.Input((4,)), keras.layers.Dense(6), keras.layers.Dropout(0.2), keras.layers.Dense(1)]
    model = keras.Sequential(layers)
    model.compile(keras.optimizers.SGD(0.05, momentum=0.9), "mse", metrics=["mae"])
    if BACKEND == "torch" and size > 1:
        import torch.distributed as dist

        def average(parameter: Any) -> None:
            dist.all_reduce(parameter.grad)
            parameter.grad /= size

        for weight in model.trainable_weights:
            weight.value.register_post_accumulate_grad_hook(average)
    return model


def samples(rank: int, batch: int) -> Any:
    """Return this rank's samples."""
    x = np.random.default_rng(rank).normal(size=(BATCHES * batch, 4)).astype("float32")
    return x, (x.sum(1, keepdims=True) + rank).astype("float32")


def batch_of(rank: int) -> int:
    """Return the batch's samples: under a distribution all ranks have equally many."""
    return 4 if BACKEND == "jax" else 4 + 4 * rank


def digest(model: Any) -> str:
    weights = hashlib.sha256()
    for array in model.get_weights():
        weights.update(np.ascontiguousarray(array).tobytes())
    return weights.hexdigest()[:16]


class Breaks(Exception):
    """An error that interrupts the training as if the job had been killed."""


class Witness(keras.callbacks.Callback):
    """A plugin that records this rank's metrics, and interrupts the training in a batch if required."""

    def __init__(self, breaks: tuple[int, int] | None) -> None:
        super().__init__()
        self.breaks, self.epoch = breaks, 0
        self.own: list[dict[str, float]] = []

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self.epoch = epoch

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        if (self.epoch, batch) == self.breaks:
            raise Breaks

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.own.append(dict(logs))


def decisions(recorder: EventRecorder) -> list[Any]:
    """Return the recorded decisions as JSON data."""
    recorded = recorder.of("on_decision", "epoch", "batch", "decision")
    return [[epoch, batch, sorted(map(str, decision))] for epoch, batch, decision in recorded]


def fit(folder: str, rank: int, size: int, breaks: tuple[int, int] | None = None, **options: Any) -> Any:
    """A training in which every rank has other data, and computes other metrics."""
    model, witness, decided = model_of(size), Witness(breaks), EventRecorder("on_decision")
    watch = {"monitor": "val_loss"}
    bus = KerasCallback(
        [
            EarlyStopping(**watch, patience=2, restore_best_weights=True),
            ReduceLROnPlateau(**watch, patience=1, factor=0.5),
            ModelCheckpoint(f"{folder}/m-{{epoch}}", **watch, keep=2, save_last=True),
            ModelCheckpoint(f"{folder}/step", save_freq="3 steps"),
            decided,
        ],
        **options,
    )
    x, y = samples(rank, batch_of(rank))
    xv, yv = samples(rank + 10, batch_of(rank))
    history = model.fit(
        x, y, batch_size=batch_of(rank), epochs=EPOCHS, validation_data=(xv, yv), verbose=0, callbacks=[witness, bus]
    )
    return {
        "history": {name: [float(value) for value in values] for name, values in bus.run.history.items()},
        "keras": {name: [float(value) for value in values] for name, values in history.history.items()},
        "decided": decisions(decided),
        "reason": bus.run.result.reason,
        "files": [path.name for path in bus.run.state.files],
        "step": bus.run.step,
        "weights": digest(model),
        "rank": [bus.run.rank, bus.run.world_size],
        "own": witness.own,
        "resumed": bus.run.resumed is not None,
    }


@scene
def uninterrupted(rank: int, size: int) -> Any:
    """The training."""
    return fit("uninterrupted", rank, size)


@scene
def interrupted(rank: int, size: int) -> Any:
    """The same, interrupted within an epoch and resumed."""
    with suppress(Breaks):
        fit("interrupted", rank, size, breaks=(2, 2))
    return fit("interrupted", rank, size, resume="auto")


@scene
def asked_to_end(rank: int, size: int) -> Any:
    """A signal to the last rank, in an epoch without batch listeners that does not end."""
    noted: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, _: noted.append(number))
    model = model_of(size)
    x, y = samples(rank, batch_of(rank))

    def endless() -> Iterator[Any]:
        count = 0
        while True:
            count += 1
            if rank == size - 1 and count == 20:
                os.kill(os.getpid(), signal.SIGTERM)
            yield x[:4], y[:4]

    bus = KerasCallback(ModelCheckpoint("asked/m"))
    error = "nothing"
    try:
        model.fit(endless(), steps_per_epoch=10**6, epochs=2, verbose=0, callbacks=[bus])
    except KeyboardInterrupt as interrupt:
        error = f"KeyboardInterrupt: {interrupt}"
    signal.signal(signal.SIGTERM, before)
    return [
        error,
        bus.run.state.position.batches > 10,
        bus.run.step,
        digest(model),
        [p.name for p in bus.run.state.files],
        noted,
    ]


@scene
def raising_plugin(rank: int, size: int) -> Any:
    """A plugin that raises on the last rank."""

    class Raises:
        @hookimpl
        def on_epoch_end(self, epoch: int) -> None:
            if (rank, epoch) == (size - 1, 1):
                raise ValueError("not with me")

    x, y = samples(rank, batch_of(rank))
    try:
        model_of(size).fit(x, y, batch_size=batch_of(rank), epochs=3, verbose=0, callbacks=[KerasCallback(Raises())])
    except Exception as error:  # noqa: BLE001 - it is what the scene is about
        return f"{type(error).__name__}: {error}"


@scene
def sharded_weights(rank: int, size: int) -> Any:
    """A JAX model whose weights are sharded over both processes."""
    before = keras.distribution.distribution()
    mesh = keras.distribution.DeviceMesh((1, size), ("batch", "model"), keras.distribution.list_devices())
    layouts = keras.distribution.LayoutMap(mesh)
    layouts[".*kernel"] = (None, "model")
    keras.distribution.set_distribution(keras.distribution.ModelParallel(layout_map=layouts))
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2 * size)])
    keras.distribution.set_distribution(before)
    try:
        Run(KerasSubject(model), ModelCheckpoint("sharded/m"), verbose=0)
    except Exception as error:  # noqa: BLE001
        return f"{type(error).__name__}: {error}"


@scene
def loop_of_the_guide(rank: int, size: int) -> Any:
    """The loop of Keras's own guide for several processes of PyTorch."""
    import torch

    model, decided = model_of(1), EventRecorder("on_decision")
    subject = KerasSubject(model, timeout=60)
    replica = torch.nn.parallel.DistributedDataParallel(model)
    optimizer, loss_of = torch.optim.SGD(model.parameters(), lr=0.05), keras.losses.MeanSquaredError()
    x, y = samples(rank, 4)
    with Run(subject, [ModelCheckpoint("loop/m", monitor="loss", save_best_only=True), decided], verbose=0) as run:
        for _ in run.epochs(3):
            for batch in run.batches(range(BATCHES)):
                rows = slice(4 * batch, 4 * batch + 4)
                loss = loss_of(torch.as_tensor(y[rows]), replica(torch.as_tensor(x[rows])))
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                run.log(loss=loss, count=4)
    return [run.history["loss"], decisions(decided), digest(model), [path.name for path in run.state.files]]


def main() -> None:
    """Run one rank."""
    os.chdir(sys.argv[1])
    rank, size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    address = f"{os.environ['MASTER_ADDR']}:{os.environ['MASTER_PORT']}"
    if BACKEND == "torch":
        import torch.distributed as dist

        dist.init_process_group("gloo")
    else:
        import jax

        if size > 1:
            jax.config.update("jax_cpu_collectives_implementation", "gloo")
            keras.distribution.initialize(address, size, rank)
        keras.distribution.set_distribution(keras.distribution.DataParallel(auto_shard_dataset=False))
    report({name: SCENES[name](rank, size) for name in sys.argv[2:]})
    if BACKEND == "torch":
        dist.barrier()
        dist.destroy_process_group()


if __name__ == "__main__":
    main()
