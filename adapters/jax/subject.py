"""A JAX training as the subject of a run: a pytree of arrays, or objects of Flax NNX."""

# JAX's and Flax's types are partly unknown
# pyright: basic, reportMissingImports=false, reportAttributeAccessIssue=false

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from trainbus import LoopError, SettingsError
from trainbus.capabilities import HasLearningRate
from trainbus.checkpoints.host_buffers import HostBuffers
from trainbus.metrics.scalars import DeviceScalars
from trainbus.settings.arguments import checked

from .leaves import check_alike, is_key, kind_of, like, named_leaves, on_host, plain, with_leaves  # isort: skip # names a missing package

import jax
import jax.numpy as jnp

from .files import NPZ, SAFETENSORS, Content, read, write
from .orbax import ORBAX, is_installed, read_directory, write_directory
from .unchanged import Unchanged

RATE = "hyperparams/learning_rate"
"""How the name of a rate ends that ``optax.inject_hyperparams`` has put into the state."""
SCHEDULE = "hyperparams_states/learning_rate"
"""What the name of a leaf has in place of that if the rate is a schedule."""
_WEIGHTS = ("params", "model")


class JaxSubject:
    """A JAX training as the subject of a run.

    JAX's functions return a new state instead of changing one. So the subject holds the state, and each step takes it
    from there and puts it back; what a callback restores or changes is what the next step gets::

        optimizer = optax.inject_hyperparams(optax.adam)(learning_rate=1e-3)
        params = init(jax.random.key(0))
        subject = JaxSubject({"params": params, "opt_state": optimizer.init(params), "key": jax.random.key(1)})
        with trainbus.Run(subject, callbacks, resume="auto") as run:
            for epoch in run.epochs(10):
                for x, y in run.batches(loader):
                    subject.state, loss = train_step(subject.state, x, y)
                    run.log(loss=loss)

    A state that stays in a variable of the loop alone is not saved. Random keys belong into the state: then a resumed
    run draws the numbers that it would have drawn. The arrays of a state may be donated to the next step.

    Objects of Flax NNX are changed in place, by the training and by the subject: ``JaxSubject(model, optimizer)``.

    Files are ``.npz``, or ``.safetensors`` if that package is installed: each array under its name in the pytree, such
    as ``params/dense/kernel``. A complete file has all of them; a file of weights has the weights, without the first
    part of the name. Both store bfloat16 and random keys too, bit for bit. A path with the suffix ``.orbax`` is a
    directory with a checkpoint of Orbax, if that package is installed.

    Args:
        state: A pytree of arrays and numbers: a mapping with "params", a ``TrainState`` of Flax, any other; or an
            object of Flax NNX, such as a module.
        optimizer: The ``nnx.Optimizer`` of a module of Flax NNX, or any other part of the state; the state is then
            ``{"model": ..., "optimizer": ...}``.
        weights: The part of the state that is the model, by the beginning of its names, such as "params"; by default
            "params" or "model" if the state has such a part, otherwise the complete state.

    Raises:
        SettingsError: A leaf of the state is no array or number, or ``weights`` names no part of it.

    >>> import jax.numpy as jnp
    >>> subject = JaxSubject({"params": {"w": jnp.ones(2)}, "step": 0})
    >>> subject.state = {"params": {"w": jnp.zeros(2)}, "step": 1}
    >>> [name for name, _ in subject.weights()]
    ['w']
    """

    @checked("JaxSubject", 'give several parts as one mapping: JaxSubject({"params": params, "opt_state": opt_state})')
    def __init__(self, state: Any, optimizer: Any = None, *, weights: str | None = None) -> None:
        if jax.process_count() > 1:
            raise SettingsError("JaxSubject trains in one process, and jax.distributed has several")
        self.state: Any = state if optimizer is None else {"model": state, "optimizer": optimizer}
        """The state of the training: assign the new one to it after each step."""
        names = list(named_leaves(self.state))
        if not names:
            raise SettingsError("JaxSubject: the state has no arrays; give the parameters that are trained")
        firsts = dict.fromkeys(name.partition("/")[0] for name in names)
        part = next((each for each in _WEIGHTS if any(name.startswith(f"{each}/") for name in names)), "")
        if weights is not None and not any(name == weights or name.startswith(f"{weights}/") for name in names):
            raise SettingsError(f"weights={weights!r} is no part of the state; its parts are {', '.join(firsts)}")
        self._part = part if weights is None else weights
        self._unchanged = Unchanged(self.state)
        self._buffers = HostBuffers()

    def refusal(self, capability: type) -> str | None:
        """Return why this training lacks the capability; None if it has it."""
        if capability is not HasLearningRate:
            return None
        leaves = named_leaves(self.state)
        if any(f"{SCHEDULE}/" in f"{name}/" for name in leaves):
            return (
                "its learning rate is a schedule of optax, which sets it anew in each update; give "
                "optax.inject_hyperparams a number"
            )
        if not _rates(leaves):
            return (
                "its state has no learning rate; make the optimizer by "
                "optax.inject_hyperparams(optax.adam)(learning_rate=0.001)"
            )
        return None

    def check_training(self) -> None:
        """Refuse a loop that keeps the new state for itself.

        Raises:
            LoopError: The state has the same arrays as before the training.
        """
        if self._unchanged.holds(self.state):
            raise LoopError(
                "the epoch has trained, but subject.state is still the state that JaxSubject was given, which "
                "checkpoints would hold; assign the new one after each step: subject.state = new_state"
            )

    # --- files and snapshots

    def suffixes(self, *, weights_only: bool) -> Sequence[str]:
        """Return .npz, and .safetensors and .orbax if these packages are installed."""
        safetensors = [SAFETENSORS] if find_spec("safetensors") else []
        return (NPZ, *safetensors, *([ORBAX] if is_installed() else []))

    def saves_sharded(self, suffix: str) -> bool:
        """Return whether files with this suffix are directories."""
        return suffix == ORBAX

    def writer_group(self) -> None:
        """Return None: one process writes."""

    @checked("save", "for example save(path, weights_only=True)")
    def save(self, path: str | Path, *, weights_only: bool) -> str | None:
        """Write the state; return the digest of the file, or None for a directory.

        Raises:
            OSError: It cannot be written.
        """
        return self._writer(self._content(weights_only, None))(Path(path))

    def snapshot_writer(self, *, weights_only: bool) -> Callable[[Path], object]:
        """Return a function that writes the current state, which is copied into main memory.

        The copy replaces the one of the last call.
        """
        content = self._content(weights_only, self._buffers)
        self._buffers.drop_unused()
        return self._writer(content)

    def _writer(self, content: Content) -> Callable[[Path], str | None]:
        # its structure alone, since the next step may take the memory of its arrays
        structure = None if content.weights_only else jax.tree.map(lambda _: 0, plain(self.state))

        def write_to(path: Path) -> str | None:
            if path.suffix != ORBAX:
                return write(content, path)
            write_directory(content, structure, path)
            return None

        return write_to

    @checked("load", "for example load(path)")
    def load(self, path: str | Path) -> None:
        """Load a file that ``save`` wrote, or an archive of the weights under their names, as ``np.savez`` writes it.

        Raises:
            UnreadableCheckpoint: The file cannot be read; nothing has changed then.
            CheckpointError: It belongs to another state; nothing has changed then.
        """

        def check(content: Content) -> None:
            leaves = self._weights() if content.weights_only else named_leaves(self.state)
            check_alike(leaves, content.arrays, content.kinds, repr(str(path)))

        if Path(path).is_dir():
            content = read_directory(Path(path), check)
        else:
            check(content := read(Path(path)))
        leaves = self._weights() if content.weights_only else named_leaves(self.state)
        self._put({name: like(leaves[name], array) for name, array in content.arrays.items()}, content.weights_only)

    def snapshot(self) -> Mapping[str, Any]:
        """Return copies of the weights in main memory, by name."""
        leaves = self._weights()
        _fetch(leaves)
        return {name: np.array(on_host(leaf)) for name, leaf in leaves.items()}

    def restore(self, snapshot: Mapping[str, Any]) -> None:
        """Set the weights to those of a snapshot, on the devices where they are.

        Raises:
            CheckpointError: The weights have changed their form since; nothing has changed then.
        """
        leaves = self._weights()
        check_alike(leaves, snapshot, {name: kind_of(leaves.get(name, 0)) for name in snapshot}, "the snapshot")
        self._put({name: like(leaves[name], array) for name, array in snapshot.items()}, weights_only=True)

    def weights(self) -> Iterable[tuple[str, Any]]:
        """Return name and array of each weight that is a number."""
        leaves = self._weights()
        _fetch(leaves)
        for name, leaf in leaves.items():
            array = on_host(leaf)
            yield name, array if array.dtype.isbuiltin != 2 else array.astype(np.float32)

    def random_state(self) -> Mapping[str, Any]:
        """Return the words of the random keys in the state, by name."""
        return {name: np.array(on_host(leaf)) for name, leaf in named_leaves(self.state).items() if is_key(leaf)}

    def set_random_state(self, state: Mapping[str, Any]) -> None:
        """Set the random keys that the state still has."""
        leaves = named_leaves(self.state)
        keys = {name: np.asarray(words, np.uint32) for name, words in state.items() if is_key(leaves.get(name))}
        self._replace({name: like(leaves[name], words) for name, words in keys.items()})

    # --- learning rates

    def learning_rates(self) -> Mapping[str, float]:
        """Return the rates that ``optax.inject_hyperparams`` has put into the state, by name."""
        rates = {name: leaf for name, (_, leaf) in _rates(named_leaves(self.state)).items()}
        # copies, since the next step may take the memory of the state
        return DeviceScalars({n: jnp.copy(leaf) if isinstance(leaf, jax.Array) else leaf for n, leaf in rates.items()})

    def set_learning_rates(self, rates: Mapping[str, float]) -> None:
        """Set rates; the next step gets them with the state.

        Raises:
            SettingsError: No rate has this name.
        """
        known = _rates(named_leaves(self.state))
        for name in rates:
            if name not in known:
                raise SettingsError(f"no learning rate is named {name!r}; there are {', '.join(known) or 'none'}")
        leaves: dict[str, Any] = {}
        for name, rate in rates.items():
            leaf, old = known[name]
            leaves[leaf] = like(old, np.asarray(rate, np.asarray(old).dtype))
        self._replace(leaves)

    def rounded_learning_rates(self, rates: Mapping[str, float]) -> Mapping[str, float]:
        """Return the rates as the state stores them."""
        known = _rates(named_leaves(self.state))
        return {name: float(np.asarray(rates[name]).astype(known[name][1].dtype)) for name in rates if name in known}

    # --- the state by name

    def _weights(self) -> dict[str, Any]:
        """Return the leaves that are the model, under their names in a file of weights."""
        return {
            name[len(self._prefix) :] or name: leaf
            for name, leaf in named_leaves(self.state).items()
            if name == self._part or name.startswith(self._prefix)
        }

    @property
    def _prefix(self) -> str:
        return f"{self._part}/" if self._part else ""

    def _replace(self, leaves: Mapping[str, Any]) -> None:
        """Put leaves in the place of those with their names; the loop still has to assign the state that it trains."""
        was_given = self._unchanged.holds(self.state)
        self.state = with_leaves(self.state, leaves)
        if was_given:
            self._unchanged = Unchanged(self.state)

    def _put(self, leaves: Mapping[str, Any], weights_only: bool) -> None:  # noqa: FBT001
        """Put leaves in the place of those with their names."""
        if weights_only:
            leaves = {
                self._part if name == self._part else f"{self._prefix}{name}": leaf for name, leaf in leaves.items()
            }
        self._replace(leaves)

    def _content(self, weights_only: bool, buffers: HostBuffers | None) -> Content:  # noqa: FBT001
        leaves = self._weights() if weights_only else named_leaves(self.state)
        _fetch(leaves)
        arrays = {name: on_host(leaf) for name, leaf in leaves.items()}
        if buffers is not None:
            copies = [(buffers.take(name, array), array) for name, array in arrays.items()]
            buffers.fill(copies)
            arrays = {name: copy for name, (copy, _) in zip(arrays, copies, strict=True)}
        return Content(arrays, {name: kind_of(leaf) for name, leaf in leaves.items()}, weights_only)


def _fetch(leaves: Mapping[str, Any]) -> None:
    """Begin to copy all arrays to the host, before the first is waited for."""
    for leaf in leaves.values():
        if isinstance(leaf, jax.Array):
            leaf.copy_to_host_async()


def _rates(leaves: Mapping[str, Any]) -> dict[str, tuple[str, Any]]:
    """Return name of each rate to the name of its leaf, and the leaf."""
    found = [name for name in leaves if f"/{name}".endswith(f"/{RATE}")]
    if len(found) == 1:
        return {"learning_rate": (found[0], leaves[found[0]])}
    return {f"learning_rate/{name.removesuffix(RATE).strip('/')}": (name, leaves[name]) for name in found}
