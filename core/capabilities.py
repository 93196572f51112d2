"""What a subject can do: one small Protocol for each capability that a callback may need.

A subject is any object; it has a capability if it has the Protocol's methods. If it has the methods but lacks the
capability (an estimator without a learning rate, for example), its optional method ``refusal(capability)`` says why.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol, TypeGuard, TypeVar, runtime_checkable

__all__ = [
    "BackgroundSaveable",
    "HasActivations",
    "HasConfig",
    "HasDirections",
    "HasGradients",
    "HasGraph",
    "HasLearningRate",
    "HasRandomState",
    "HasRanks",
    "HasRunState",
    "HasStateDict",
    "HasTrace",
    "HasWeights",
    "Node",
    "Ranks",
    "Refuses",
    "Restorable",
    "Saveable",
    "SavesSomeInBackground",
    "Sharded",
    "Snapshotable",
    "has",
    "missing",
    "saves_in_background",
]

C = TypeVar("C")


@runtime_checkable
class Saveable(Protocol):
    """A subject that can be written to a file."""

    def suffixes(self, *, weights_only: bool) -> Sequence[str]:
        """Return the file suffixes that it can write, the default first, each with its dot."""

    def save(self, path: Path, *, weights_only: bool) -> object:
        """Write the complete training state, or only the weights, to ``path``, whose suffix is one of ``suffixes``.

        It writes all bytes or raises. It may return the SHA-256 digest, in hexadecimal digits, of what it meant to
        write: the file is compared with it before it replaces another. Any other return value is ignored.
        """


@runtime_checkable
class BackgroundSaveable(Protocol):
    """A subject that can be written to a file while it trains."""

    def snapshot_writer(self, *, weights_only: bool) -> Callable[[Path], object]:
        """Copy the present state; return a function that writes the copy to a path, as ``save`` would, in any thread.

        The function may be called several times, until ``snapshot_writer`` is called again, which may reuse its memory.
        Like ``save``, it may return the digest of what it meant to write.
        """


@runtime_checkable
class SavesSomeInBackground(Protocol):
    """A ``BackgroundSaveable`` subject that cannot write each of its file formats in the background."""

    def saves_in_background(self, name: str) -> bool:
        """Return whether the function from ``snapshot_writer`` can write a file of this name."""


@runtime_checkable
class Sharded(Protocol):
    """A subject whose ranks each write their part of a checkpoint directory."""

    def saves_sharded(self, suffix: str) -> bool:
        """Return whether it writes a directory of shards under this suffix (see ``storage.sharded_directory``)."""

    def writer_group(self) -> Ranks | None:
        """Return the ranks that must save and load together; None if each rank holds the complete state.

        The group has its own connections, so that a background thread may use it while the training communicates. All
        ranks call this at the same time, outside of that thread.
        """


@runtime_checkable
class Restorable(Protocol):
    """A subject that can be restored from a file that it wrote."""

    def load(self, path: Path) -> None:
        """Load the state in ``path`` into the subject, in place.

        Raises:
            UnreadableCheckpoint: The file cannot be read, and nothing has been changed; a run that resumes then looks
                for an older checkpoint.
        """


@runtime_checkable
class Snapshotable(Protocol):
    """A subject that can be copied to memory and restored from there."""

    def snapshot(self) -> object:
        """Return a copy of the weights that later training cannot change."""

    def restore(self, snapshot: Any) -> None:
        """Load a snapshot made by this subject, in place."""


@runtime_checkable
class HasLearningRate(Protocol):
    """A subject with learning rates that can be read and changed while it trains."""

    def learning_rates(self) -> Mapping[str, float]:
        """Return name to present value: a single rate as "learning_rate", several as "learning_rate/<group>".

        Callable also if ``refusal`` says that they cannot be changed; empty if there are none.
        """

    def set_learning_rates(self, rates: Mapping[str, float]) -> None:
        """Set the named rates.

        Raises:
            SettingsError: The change would have no effect.
        """


@runtime_checkable
class HasDirections(Protocol):
    """A subject with metric objects, some of which declare their direction."""

    def direction_of(self, metric: str) -> Literal["min", "max"] | None:
        """Return the direction that the metric object declares; None if it declares none."""


@runtime_checkable
class HasWeights(Protocol):
    """A subject with named arrays that training changes."""

    def weights(self) -> Iterable[tuple[str, Any]]:
        """Return name and NumPy array of every weight, in a stable order; names are unique, parts joined by "/"."""


@runtime_checkable
class HasGradients(Protocol):
    """A subject whose gradients of the loss can be read."""

    def hold_gradients(self) -> Callable[[], Iterable[tuple[str, Any]]]:
        """Keep the gradients of the next weight update; return a function that returns them after it.

        They are NumPy arrays under the names of their weights; of a sparse gradient, the stored values.
        """


@runtime_checkable
class HasActivations(Protocol):
    """A subject that can show the outputs of its layers for held-out data."""

    def activations(self, batch_size: int) -> Iterable[tuple[str, Any]]:
        """Return layer names and NumPy arrays of their outputs, for all held-out data in slices of ``batch_size``.

        A layer occurs once in each slice, or as often as the model calls it. Training continues unchanged afterwards
        but for the random generators of Python, NumPy and ``HasRandomState``, which the caller restores.
        """


@runtime_checkable
class HasRandomState(Protocol):
    """A subject that draws from random generators other than the global ones of Python and NumPy."""

    def random_state(self) -> Mapping[str, Any]:
        """Return the state of these generators, as data that ``to_json_data`` takes."""

    def set_random_state(self, state: Mapping[str, Any]) -> None:
        """Set the generators to a state that ``random_state`` returned."""


@runtime_checkable
class HasStateDict(Protocol):
    """A plugin with state that a resumed run needs."""

    def state_dict(self) -> Any:
        """Return the state as plain JSON data: numbers, text, truth values, None, lists and mappings of these.

        With it a resumed run decides as an uninterrupted one. Tensors and arrays are refused when the run begins.
        """

    def load_state_dict(self, state: Any) -> None:
        """Continue from what ``state_dict`` returned, with tuples as lists."""


@runtime_checkable
class HasRunState(Protocol):
    """A subject with state that its own files do not hold and a resumed run needs."""

    def run_state(self) -> Any:
        """Return the state, as data that ``to_json_data`` takes: plain JSON data, bytes and arrays."""

    def load_run_state(self, state: Any) -> None:
        """Continue from what ``run_state`` returned, with tuples as lists."""


class Ranks(Protocol):
    """The processes that train one model together, as one of them sees them.

    ``all_reduce_sum``, ``all_reduce_max``, ``broadcast`` and ``gather`` are collective: every rank calls them in the
    same order, with values of the same shape, and waits for the others. Values are plain JSON data. If another process
    fails or does not answer in time, they raise ``RankError``, and the group can no longer be used.
    """

    @property
    def rank(self) -> int:
        """The number of this process, counted from 0; rank 0 writes the files."""

    @property
    def size(self) -> int:
        """The number of processes."""

    def all_reduce_sum(self, numbers: Sequence[float]) -> list[float]:
        """Return the element-wise sums over all ranks, the same to the bit on each of them."""

    def all_reduce_max(self, numbers: Sequence[float]) -> list[float]:
        """Return the element-wise maxima over all ranks."""

    def broadcast(self, value: Any) -> Any:
        """Return rank 0's value on every rank; the values of the others are ignored."""

    def gather(self, value: Any) -> list[Any]:
        """Return the values of all ranks in rank order on rank 0, and an empty list elsewhere."""

    def put_if_absent(self, name: str, text: str) -> str:
        """Store ``text`` under a name for all ranks, unless the name has a text already; return the stored text.

        Callable from any thread; it does not wait for the other ranks.
        """

    def get(self, name: str) -> str | None:
        """Return the text stored under a name; None if there is none."""

    def close(self) -> None:
        """Leave the group; ranks that wait for this one fail at once."""


@runtime_checkable
class HasRanks(Protocol):
    """A subject that several processes may train together."""

    def ranks(self) -> Ranks | None:
        """Return a new group of the processes that train it; None if this process trains alone."""


class Node(NamedTuple):
    """One box of a subject's graph."""

    name: str
    """Unique; parts joined by "/" nest, as files in folders."""
    kind: str
    """What it does: the name of its class."""
    inputs: tuple[str, ...] = ()
    """Names of the nodes whose output it takes."""
    attributes: tuple[tuple[str, str], ...] = ()
    """Names and values worth showing."""
    shape: tuple[int | None, ...] | None = None
    """Shape of its output, with None for a size that varies; None if the shape is unknown."""


@runtime_checkable
class HasGraph(Protocol):
    """A subject whose parts can be drawn as a graph."""

    def graph(self) -> Sequence[Node]:
        """Return the parts, each with the names of the parts whose output it takes."""


@runtime_checkable
class HasTrace(Protocol):
    """A subject whose operations can be traced through one pass over held-out data."""

    def trace(self, batch_size: int) -> Sequence[Node]:
        """Return the operations of a pass over ``batch_size`` samples; training continues as after ``activations``."""


@runtime_checkable
class HasConfig(Protocol):
    """A subject described by what Keras's ``model.to_json`` writes, which TensorBoard draws as its conceptual graph."""

    def config(self) -> str:
        """Return the description, as JSON."""


@runtime_checkable
class Refuses(Protocol):
    """A subject that may lack a capability although it has its methods."""

    def refusal(self, capability: type) -> str | None:
        """Return why this object lacks the capability; None if it has it."""


def missing(subject: object, capability: type) -> str | None:
    """Return why ``subject`` lacks ``capability``, in words that can follow "because"; None if it has it.

    >>> missing(object(), HasLearningRate)
    "'object' has no learning_rates() and set_learning_rates()"
    >>> missing(None, Saveable)
    'the run has no subject'
    """
    if subject is None:
        return "the run has no subject"
    if not has(subject, capability):
        wanted = [name for name in vars(capability) if not name.startswith("_") and not hasattr(subject, name)]
        return f"{type(subject).__name__!r} has no {' and '.join(f'{name}()' for name in wanted)}"
    return subject.refusal(capability) if has(subject, Refuses) else None


_KNOWN: dict[tuple[type, type], bool] = {}


def has(subject: object, capability: type[C]) -> TypeGuard[C]:
    """Return whether ``subject`` has the methods of ``capability``: ``isinstance``, remembered for each class."""
    key = type(subject), capability
    if key not in _KNOWN:
        _KNOWN[key] = all(hasattr(key[0], name) for name in vars(capability) if not name.startswith("_"))
    return _KNOWN[key] or isinstance(subject, capability)


def saves_in_background(subject: object, name: str) -> bool:
    """Return whether a ``BackgroundSaveable`` subject can write a file of this name; any, if it does not say."""
    return not has(subject, SavesSomeInBackground) or subject.saves_in_background(name)
