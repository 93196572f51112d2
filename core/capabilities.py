"""What a subject can do: small protocols, one for each thing that a callback may need.

A subject is any object; it offers a capability by having its methods. Where the class could do it and this object
cannot (an estimator without a learning rate, say), the subject's optional method `refusal(capability)` says why.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol, runtime_checkable

__all__ = [
    "Detachable",
    "DetachesSome",
    "HasActivations",
    "HasConfig",
    "HasDirections",
    "HasGradients",
    "HasGraph",
    "HasLearningRate",
    "HasRandomState",
    "HasRanks",
    "HasTrace",
    "HasWeights",
    "Node",
    "Ranks",
    "Refuses",
    "Remembers",
    "Restorable",
    "Saveable",
    "Sharded",
    "Snapshotable",
    "detaches",
    "missing",
]


@runtime_checkable
class Saveable(Protocol):
    """Can be written to a file."""

    def suffixes(self, *, weights_only: bool) -> Sequence[str]:
        """File suffixes that it can write, the usual one first, each with its dot."""
        ...

    def save(self, path: Path, *, weights_only: bool) -> object:
        """Write the whole training state, or only the weights, to `path`, whose suffix is one of `suffixes`.

        It writes all bytes or raises. It may return the SHA-256 digest, in hexadecimal digits, of what it meant to
        write: what lies at `path` is compared with that before it takes the place of anything. Anything else that it
        returns for a file means nothing.
        """
        ...


@runtime_checkable
class Detachable(Protocol):
    """Can be written to a file while it trains on."""

    def detached(self, *, weights_only: bool) -> Callable[[Path], object]:
        """What writes the present state to the path that it is given, as `save` would, in whatever thread.

        It may be called several times, until `detached` is called again: memory may be used again then. As `save`, it
        may return the digest of what it meant to write.
        """
        ...


@runtime_checkable
class DetachesSome(Protocol):
    """Is `Detachable`, but not for every file that it can write."""

    def detaches(self, name: str) -> bool:
        """Whether what `detached` returns can write a file of this name."""
        ...


@runtime_checkable
class Sharded(Protocol):
    """Is written to directories, in parts, by all ranks that hold a part of it."""

    def in_parts(self, suffix: str) -> bool:
        """Whether what it writes under this suffix is a directory, laid out as `trainbus.storage.parts` says."""
        ...

    def sharing(self) -> Ranks | None:
        """The ranks that have to save and load together; None where each holds the whole.

        They exchange by connections of their own, so that a thread may write while the training exchanges. All ranks
        ask for them at the same time, outside of that thread.
        """
        ...


@runtime_checkable
class Restorable(Protocol):
    """Can be brought back from a file that it wrote."""

    def load(self, path: Path) -> None:
        """Take over what `path` holds, in place.

        Where that cannot be read it raises `trainbus.UnreadableCheckpoint`, and has changed nothing: whoever resumes
        the run then looks for an older one.
        """
        ...


@runtime_checkable
class Snapshotable(Protocol):
    """Can be remembered in memory and brought back."""

    def snapshot(self) -> object:
        """A copy of the weights that later training cannot change."""
        ...

    def restore(self, snapshot: Any) -> None:
        """Take over what `snapshot`, made by this subject, holds, in place."""
        ...


@runtime_checkable
class HasLearningRate(Protocol):
    """Has learning rates that can be read and changed while it trains."""

    def learning_rates(self) -> Mapping[str, float]:
        """Name to present value: the one rate as "learning_rate", several as "learning_rate/<group>".

        Also where a refusal says that they cannot be changed; empty where there are none.
        """
        ...

    def set_learning_rates(self, rates: Mapping[str, float]) -> None:
        """Change the rates that are named; raises `SettingsError` where a change would have no effect."""
        ...


@runtime_checkable
class HasDirections(Protocol):
    """Knows its metrics as objects, some of which tell which way they improve."""

    def direction_of(self, metric: str) -> Literal["min", "max"] | None:
        """The direction that the metric object itself declares, None where it does not."""
        ...


@runtime_checkable
class HasWeights(Protocol):
    """Has named arrays that training changes."""

    def weights(self) -> Iterable[tuple[str, Any]]:
        """Name and NumPy array of every weight, in a stable order; names are unique, parts joined by "/"."""
        ...


@runtime_checkable
class HasGradients(Protocol):
    """Knows how the loss changes with each weight."""

    def hold_gradients(self) -> Callable[[], Iterable[tuple[str, Any]]]:
        """Keep the gradients of one weight update from here on; what is returned gives them then.

        They come as NumPy arrays under the names of their weights; of a sparse one, the values that it holds.
        """
        ...


@runtime_checkable
class HasActivations(Protocol):
    """Can show what its layers put out for data that it is not trained on."""

    def activations(self, batch_size: int) -> Iterable[tuple[str, Any]]:
        """Name of a layer and NumPy array of what it puts out, for all of the data, at most so many samples at a time.

        A layer comes once in each slice, or more often if it is called more often. Training goes on afterwards as if
        nothing had been looked at, but for the random generators of Python, NumPy and `HasRandomState`, which whoever
        asks brings back.
        """
        ...


@runtime_checkable
class HasRandomState(Protocol):
    """Draws from random generators beside the global ones of Python and NumPy."""

    def random_state(self) -> Mapping[str, Any]:
        """Where they stand, as data that `trainbus.plain.to_plain` takes."""
        ...

    def set_random_state(self, state: Mapping[str, Any]) -> None:
        """Bring them back to where `random_state` found them."""
        ...


@runtime_checkable
class Remembers(Protocol):
    """Knows what a checkpoint's file does not hold, and a resumed run needs; for plugins and subjects alike."""

    def memory(self) -> Any:
        """What it must know to go on as if nothing had happened, as data that `trainbus.plain.to_plain` takes."""
        ...

    def recall(self, memory: Any) -> None:
        """Go on from what `memory` returned, tuples as lists."""
        ...


class Ranks(Protocol):
    """The processes that train one model together, seen from one of them.

    Whatever all of them have to call, they call in the same order, with values of the same shape: the first four
    methods wait for each other. What is exchanged is plain data, as JSON holds it. Another process that fails or does
    not answer in time is a `RankError`, after which nothing can be exchanged any more.
    """

    @property
    def rank(self) -> int:
        """The number of this process, counted from 0; number 0 writes the files."""
        ...

    @property
    def size(self) -> int:
        """How many processes there are."""
        ...

    def sum(self, numbers: Sequence[float]) -> list[float]:
        """The sums over all ranks, place by place, the same to the bit on each of them."""
        ...

    def maximum(self, numbers: Sequence[float]) -> list[float]:
        """The largest of all ranks, place by place."""
        ...

    def broadcast(self, value: Any) -> Any:
        """The value of rank 0; what the others give does not matter."""
        ...

    def gather(self, value: Any) -> list[Any]:
        """On rank 0 the values of all ranks, in their order; elsewhere nothing."""
        ...

    def note(self, name: str, text: str) -> str:
        """Put up a note for all ranks, from whatever thread, and wait for nobody; the first one of a name stays.

        Returns the note of this name that stands.
        """
        ...

    def noted(self, name: str) -> str | None:
        """The note of this name, None where nobody has put one up."""
        ...

    def close(self) -> None:
        """Exchange nothing any more: whoever waits for this rank learns that it is gone."""
        ...


@runtime_checkable
class HasRanks(Protocol):
    """May be trained by several processes at once."""

    def ranks(self) -> Ranks | None:
        """The processes that train it, anew for each run; None where this one trains alone."""
        ...


class Node(NamedTuple):
    """One box of a subject's graph."""

    name: str
    """Unique; parts joined by "/" nest, as files in folders."""
    kind: str
    """What it does: the name of its class."""
    inputs: tuple[str, ...] = ()
    """Names of the nodes whose output it takes."""
    attributes: tuple[tuple[str, str], ...] = ()
    """Names and values worth reading."""
    shape: tuple[int | None, ...] | None = None
    """Of what it puts out, None for a size that varies; None as a whole where it is unknown."""


@runtime_checkable
class HasGraph(Protocol):
    """Consists of parts that can be drawn as a graph."""

    def graph(self) -> Sequence[Node]:
        """The parts, each naming those whose output it takes."""
        ...


@runtime_checkable
class HasTrace(Protocol):
    """Can be followed through one pass over data that it is not trained on."""

    def trace(self, batch_size: int) -> Sequence[Node]:
        """The operations of a pass over at most so many samples; training goes on as after `activations`."""
        ...


@runtime_checkable
class HasConfig(Protocol):
    """Is described by what Keras's `model.to_json` writes, which TensorBoard draws as its conceptual graph."""

    def config(self) -> str:
        """The description, as JSON."""
        ...


@runtime_checkable
class Refuses(Protocol):
    """Says of itself that it lacks a capability whose methods it has."""

    def refusal(self, capability: type) -> str | None:
        """Why this object lacks the capability, None where it has it."""
        ...


def missing(subject: object, capability: type) -> str | None:
    """Why `subject` lacks `capability`, in words that can follow "because"; None where it has it.

    >>> missing(object(), HasLearningRate)
    "'object' has no learning_rates() and set_learning_rates()"
    >>> missing(None, Saveable)
    'the run has no subject'
    """
    if subject is None:
        return "the run has no subject"
    if not isinstance(subject, capability):
        wanted = [name for name in vars(capability) if not name.startswith("_") and not hasattr(subject, name)]
        return f"{type(subject).__name__!r} has no {' and '.join(f'{name}()' for name in wanted)}"
    return subject.refusal(capability) if isinstance(subject, Refuses) else None


def detaches(subject: object, name: str) -> bool:
    """Whether a `Detachable` subject can be written to a file of this name while it trains on."""
    return not isinstance(subject, DetachesSome) or subject.detaches(name)
