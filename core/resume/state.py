"""The run state in a checkpoint, from which a resumed run makes the same decisions as an uninterrupted one."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Annotated, Any, Self, cast

from pydantic import BaseModel, ConfigDict, Field, model_validator

from ..checkpoints.history.history_reader import HistoryReference
from ..errors import SettingsError
from ..limits import BATCHES, EPOCHS, RANKS, RUN_ID, STEPS
from ..metrics.origin import Origin
from ..metrics.running_means import RunningMeans
from ..storage.paths import Location, StartDirectory, location, relative_to
from .serialization import compress_arrays, from_json_data, to_json_data

Epochs = Annotated[int, Field(ge=0, le=EPOCHS)]
"""The number of an epoch, or how many there are."""
Batches = Annotated[int, Field(ge=0, le=BATCHES)]
"""How many batches, loops or samples there are."""
Generators = dict[str, Any] | None
"""The states of random number generators, by the name of their library."""
_RNG = ("rng", "epoch_rng", "loop_rng")
"""The fields of ``RankState`` that hold them."""


class Position(BaseModel):
    """How far a run has come."""

    model_config = ConfigDict(frozen=True)

    epochs: Epochs
    """Number of epochs that ended; also the number of the epoch to continue with, counted from 0."""
    mid_epoch: bool = False
    """Whether that epoch has begun."""
    in_loop: bool = True
    """Whether a loop over batches of that epoch has begun."""
    loops: Batches = 0
    """Loops over batches of that epoch that ended."""
    batches: Batches = 0
    """Batches of the next loop that were trained on."""


class PluginState(BaseModel):
    """The state of one plugin."""

    name: str
    callback: str = ""
    """The class of the callback that made the plugin; empty if none did."""
    settings: dict[str, Any] = Field(default_factory=dict[str, Any])
    """The settings of that callback."""
    state_dict: Any = None
    """What the plugin's ``state_dict`` returned; None if it has none."""
    places: dict[str, str] = Field(default_factory=dict[str, str])
    """The settings that are paths, relative to the directory of the checkpoint."""


class RateChange(BaseModel):
    """A change of learning rates of which it is still checked whether it acts."""

    by: str
    """The plugin that asked for it."""
    epoch: Epochs
    """The epoch in which it was made."""
    begin: Epochs
    """The first epoch whose first update uses the new rates."""
    before: dict[str, float]
    after: dict[str, float]
    unchanged: dict[str, float]
    """The rates that the schedules would have given without any change."""
    noted: dict[str, float]
    """The rates that were read at that time, after all changes."""

    @model_validator(mode="after")
    def _check_names(self) -> Self:
        if not self.after.keys() <= self.before.keys():
            raise ValueError("a changed rate has no value before the change")
        return self


class UncutRate(BaseModel):
    """A learning rate that the run has changed, with the cuts of it."""

    model_config = ConfigDict(frozen=True, allow_inf_nan=False)

    product: float = Field(default=1.0, ge=0)
    """The product of the cuts."""
    floor: float = 0.0
    """The lowest rate that these cuts may give."""
    rate: float = 0.0
    """The rate after the last change by the run."""
    uncut: float = 0.0
    """What it would have been then without the cuts."""
    set_in: Epochs | None = None
    """The last epoch in which the run has set the rate; None if it never has."""


class RankState(BaseModel):
    """The state of one rank: the part that differs between the processes of a run."""

    means: dict[str, Any] = Field(default_factory=dict[str, Any])
    """The sums of the running means of the current epoch; none if the rank has logged nothing in it."""
    rng: Generators = None
    """The states of the random number generators."""
    epoch_rng: Generators = None
    """Their states when the current epoch began."""
    loop_rng: Generators = None
    """Their states before the current loop over batches began, which determine its order; None if there is no loop, or
    if they are those of the epoch's beginning."""
    loaders: list[dict[str, Any] | None] = Field(default_factory=list[dict[str, Any] | None])
    """The state of the loader of each loop over batches of the epoch."""
    loop_loader: dict[str, Any] | None = None
    """The state of the current loop's loader before the loop began."""
    subject: Any = None
    """What the subject's ``run_state`` returned."""

    def compressed(self) -> RankState:
        """Return the same state with compressed arrays."""
        return self._with_generators(_compressed, self)

    def difference_from(self, first: RankState) -> RankState:
        """Return the difference from rank 0's state: generators that equal rank 0's are omitted."""
        return self._with_generators(_without, first)

    def completed_by(self, first: RankState) -> RankState:
        """Return the state that ``difference_from`` was called on."""
        return self._with_generators(_completed, first)

    def _with_generators(self, change: Callable[[Generators, Generators], Generators], first: RankState) -> RankState:
        changed = {name: change(getattr(self, name), getattr(first, name)) for name in _RNG}
        return self.model_copy(update=changed)


class CheckpointState(BaseModel):
    """The state of a run that a checkpoint stores."""

    run: str = Field(default="", max_length=RUN_ID)
    """Identifier of the run, which a resumed run keeps."""
    origin: Origin = Origin()
    """How far the training had come before the run began."""
    hparams: dict[str, Any] = Field(default_factory=dict[str, Any])
    """The hyperparameters of the run."""
    position: Position
    at_end: bool = False
    """Whether the training was over, so that the decision that saved this is the one of the run's end."""
    rank_state: RankState
    """The state of rank 0, or of this rank after ``for_rank`` was called."""
    history: HistoryReference = Field(default_factory=HistoryReference)
    """The file that has each epoch that ended, each decision before ``decision``, and each file."""
    epochs_recorded: Epochs = 0
    """How many epochs have ended."""
    known_epochs: list[tuple[Epochs, dict[str, Any]]] = Field(default_factory=list[tuple[int, dict[str, Any]]])
    """The epochs of these that decisions may need: those with extreme metrics, and the last."""
    validate_every: Annotated[int, Field(ge=1, le=STEPS)] | None = None
    """Steps from one validation to the next, in a loop by steps; None in a loop over epochs."""
    validated: bool = False
    stop_actions: list[Any] = Field(default_factory=list[Any])
    """The stops of the run; what is no action is refused when these and ``decision`` become a decision again."""
    decision: list[Any] = Field(default_factory=list[Any])
    """The actions of the decision that saved this checkpoint; those after the save may not have been executed. Empty
    for a save after a signal.
    """
    slots: dict[str, Any] = Field(default_factory=dict[str, Any])
    """The snapshots: name of each slot to its file."""
    places: dict[str, str] = Field(default_factory=dict[str, str])
    """The paths in ``decision``, relative to the directory of the checkpoint."""
    learning_rates: dict[str, float] = Field(default_factory=dict[str, float])
    """The learning rates at the time of the save."""
    script_learning_rates: dict[str, float] = Field(default_factory=dict[str, float])
    """The rates that the script had set before the run began, or has changed since."""
    options: dict[str, str] = Field(default_factory=dict[str, str])
    """The optimizer options at the time of the save, as text."""
    script_options: dict[str, str] = Field(default_factory=dict[str, str])
    """The optimizer options that the script had set before the run began, as text."""
    rate_changes: list[RateChange] = Field(default_factory=list[RateChange])
    """The changes of rates of which it is still checked whether they act."""
    undone_rates: list[str] = Field(default_factory=list[str])
    """The rates of which it was reported that a change was undone."""
    uncut_rates: dict[str, UncutRate] = Field(default_factory=dict[str, UncutRate])
    """The rates that the run has changed, with the product of the cuts of each."""
    event_counts: dict[str, Batches] = Field(default_factory=dict[str, int])
    """How often the loop has emitted each event."""
    first_learning_rates: dict[str, float] = Field(default_factory=dict[str, float])
    """The rates of the first weight update of the interrupted epoch; empty if it had none."""
    plugins: list[PluginState] = Field(default_factory=list[PluginState])
    world_size: int = Field(default=1, ge=1, le=RANKS)
    planned_batches: Batches | None = None
    """The batches that rank 0's loader gives in the whole interrupted loop; None if unknown."""
    batch_size: Batches | None = None
    """The samples in one of them; None if unknown."""
    other_ranks: list[RankState] = Field(default_factory=list[RankState])
    """The states of all ranks except rank 0, as differences from rank 0's."""

    def stored_at(self, path: Location, start: StartDirectory, slots: Mapping[str, Any]) -> dict[str, Any]:
        """Return the state as the checkpoint at a path stores it, with each path relative to its directory.

        Args:
            path: The path of the checkpoint.
            start: Where relative paths start.
            slots: The snapshots, as the checkpoint names them.
        """
        directory = start.fixed(path).parent

        def relative(named: Iterable[tuple[str, Any]]) -> dict[str, str]:
            found: dict[str, str] = {}
            for key, given in named:
                with suppress(SettingsError, ValueError, TypeError):  # it is no path
                    found[key] = relative_to(start.fixed(location(given)), directory)
            return found

        named = [each[1] for action in self.decision if (each := _path_in(action, slots))]
        plugins = [
            each.model_copy(update={"places": relative((name, each.settings.get(name)) for name in each.places)})
            for each in self.plugins
        ]
        places = relative((given, given) for given in named)
        update = {"slots": dict(slots), "plugins": plugins, "places": places}
        return self.model_copy(update=update).model_dump(exclude_defaults=True)

    def found_at(self, path: Location, start: StartDirectory) -> CheckpointState:
        """Return the state with the paths that are valid now, although the run may have been copied or moved.

        Args:
            path: The path of the checkpoint.
            start: Where relative paths start.
        """

        def present(given: Any, places: Mapping[str, str], key: str) -> Any:
            known = key in places and isinstance(given, str)
            return start.present(given, places[key], path.parent) if known else given

        decision = [
            {**action, name: present(given, self.places, given)}
            if (named := _path_in(action, self.slots)) and (name := named[0]) and (given := named[1])
            else action
            for action in self.decision
        ]
        plugins = [
            each.model_copy(
                update={"settings": {name: present(value, each.places, name) for name, value in each.settings.items()}}
            )
            for each in self.plugins
        ]
        return self.model_copy(update={"decision": decision, "plugins": plugins})

    def for_rank(self, rank: int, world_size: int) -> CheckpointState:
        """Return the state for one rank of the resumed run.

        If the number of ranks is the same, each rank gets its own state. Otherwise rank 0 continues with the metrics of
        all ranks, and every rank gets the run state of rank 0's subject. A rank that existed keeps its generators and
        loaders. A new one gets those whose state was the same on all ranks, and keeps its own for the rest.

        Args:
            rank: The number of this process, counted from 0.
            world_size: The number of processes now.
        """
        if world_size == self.world_size:
            return self.model_copy(update={"rank_state": self._own(rank)})
        every = [self.rank_state, *self.other_ranks]
        state = self._own(rank) if rank < self.world_size else self._shared_by_all()
        means: dict[str, Any] = _merged_means(every) if rank == 0 else {}
        state = state.model_copy(update={"means": means, "subject": self.rank_state.subject})
        return self.model_copy(update={"rank_state": state})

    def _own(self, rank: int) -> RankState:
        if rank == 0:
            return self.rank_state
        return (self.other_ranks[rank - 1 : rank] or [RankState()])[0].completed_by(self.rank_state)

    def _shared_by_all(self) -> RankState:
        """Return the state of a rank that did not exist: what was the same on all ranks."""
        first, others = self.rank_state, self.other_ranks
        if len(others) + 1 < self.world_size:
            return RankState()
        generators = {name: _shared(getattr(first, name), [getattr(each, name) for each in others]) for name in _RNG}
        loaders: dict[str, Any] = {
            name: getattr(first, name)
            for name in ("loaders", "loop_loader")
            if all(getattr(each, name) == getattr(first, name) for each in others)
        }
        # the ranks of a loop by steps are in the same pass over the data, each with its own generators
        loaders.setdefault(
            "loaders", [each if "passes" in ((each or {}).get("state") or {}) else None for each in first.loaders]
        )
        return RankState().model_copy(update={**generators, **loaders})


def _path_in(action: Any, slots: Container[str]) -> tuple[str, str] | None:
    """Return the option of an action that names a file, and that path; None if it names none, or a slot."""
    for name in ("path", "source") if isinstance(action, dict) else ():
        value: Any = cast("dict[str, Any]", action).get(name)
        if isinstance(value, str) and not (name == "source" and value in slots):
            return name, value
    return None


def _compressed(states: Generators, _: Generators) -> Generators:
    return states and {name: compress_arrays(state) for name, state in states.items()}


def _without(states: Generators, first: Generators) -> Generators:
    return states and {name: each for name, each in states.items() if (first or {}).get(name) != each}


def _completed(states: Generators, first: Generators) -> Generators:
    return states if states is None else {**(first or {}), **states}


def _shared(first: Generators, others: Sequence[Generators]) -> Generators:
    """Return rank 0's generators that are the same on the others, which may have left out those that equal rank 0's."""
    if first is None or None in others:
        return None
    return {
        name: each for name, each in first.items() if all((other or {}).get(name, each) == each for other in others)
    }


def _merged_means(states: Iterable[RankState]) -> Any:
    means = RunningMeans()
    for state in states:
        means.merge(from_json_data(state.means))
    return to_json_data(means.sums())
