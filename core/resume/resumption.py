"""Where to resume from, and what of its memory still fits the callbacks that are listed now."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from pydantic import ValidationError

from ..callback import Callback
from ..capabilities import HasLearningRate, HasRunState, HasStateDict, Restorable, Saveable, Snapshotable, missing
from ..checkpoints import (
    MANIFEST,
    Checkpoint,
    CheckpointInfo,
    entries_of,
    inspect_paths,
    local_copy,
    newest,
    payloads_in,
    read,
    scan,
)
from ..checkpoints.collective_commit import RANK_FILE
from ..checkpoints.snapshots import SnapshotStore, find_snapshot_files
from ..decision import Action, Decision, Stop
from ..errors import CheckpointError, MissingCapability, SettingsError
from ..failures import LOG, Failures, add_plugin_note, is_observer
from ..metrics.names import hint
from ..storage.atomic_file import suffix_of
from ..storage.backend import backend_for
from ..storage.paths import Location, Source, location
from ..storage.sharded_directory import EVERY_PART, VerificationShare, read_part
from .dataloader_state import is_stateful, restore_loader
from .rng_state import set_rng_state
from .serialization import from_json_data
from .state import CheckpointState, PluginState, RankState, action_from_json, decision_from_json

__all__ = ["AUTO", "PluginMatch", "Resumption", "find", "match_plugins"]

T = TypeVar("T")

AUTO = "auto"

UNDECISIVE = frozenset({"background", "verbose"})
"""Settings that change no decision."""


def find(
    source: Source,
    callbacks: Collection[Callback],
    mine: VerificationShare = EVERY_PART,
    without: Collection[Location] = (),
) -> Checkpoint | None:
    """The checkpoint to resume from.

    Args:
        source: the path of one; a directory, of which the newest intact one is taken; or "auto", which looks for the
            files that the callbacks write.
        callbacks: those that are listed.
        mine: what to verify of a directory, where other processes verify the rest.
        without: checkpoints in which these have found damage.

    Returns:
        The checkpoint, every byte of it verified; None for "auto" where there is none.

    Raises:
        SettingsError: nothing is there, or no callback writes what "auto" could look for.
        CheckpointError: what is there is damaged, or tells nothing of its run.
    """
    try:
        return _find(source, callbacks, mine, without)
    except CheckpointError:
        raise
    except OSError as error:
        raise CheckpointError(f"resume={str(source)!r}: {error}") from error


def _find(
    source: Source, callbacks: Collection[Callback], mine: VerificationShare, without: Collection[Location]
) -> Checkpoint | None:
    if source == AUTO:
        patterns = [pattern for callback in callbacks for pattern in callback.checkpoint_patterns()]
        if not patterns:
            raise SettingsError("resume='auto' looks where ModelCheckpoint saves; list one, or give the path of a file")
        candidates = inspect_paths(_payloads(patterns) - set(without))
        found = _newest(candidates, mine)
        if found is None and (
            why := "nothing that could be gone on from is left" if candidates else _others(callbacks)
        ):
            LOG.warning("resume='auto': %s; the run begins afresh", why)
        return found
    path = _place(source)
    if backend_for(path).is_directory() and not (path.name and entries_of(path)):  # the working directory has no name
        found = _newest([each for each in scan(path) if each.path not in without], mine)
        if found is None:
            raise SettingsError(
                f"resume={str(source)!r}: no checkpoint of a run in this directory; resume='auto' starts afresh where "
                "there is none"
            )
        return found
    if backend_for(path).size() is None:
        beside = backend_for(path.parent)
        near = hint(path.name, [AUTO, *(beside.list_names() if beside.is_directory() else [])], otherwise="")
        raise SettingsError(f"resume={str(source)!r}: no such file{near}")
    checkpoint = read(path, mine)
    memory_of(checkpoint)
    return checkpoint


def _others(callbacks: Iterable[Callback]) -> str:
    """In words, a checkpoint in the directories that the callbacks write into which none of them has written."""
    for directory in {each for callback in callbacks for each in callback.locked_directories()}:
        with suppress(OSError):
            for path in sorted(map(str, payloads_in(location(directory)))):
                return f"{path!r} is none of the files that the callbacks write"
    return ""


def _place(source: Source) -> Location:
    with suppress(TypeError):
        if source:
            return location(source)
    raise SettingsError(f"resume={source!r}: give the path of a checkpoint, a directory, or 'auto'")


def memory_of(checkpoint: Checkpoint) -> CheckpointState:
    """What a checkpoint remembers of its run.

    Raises:
        CheckpointError: it was not saved by a run.
    """
    try:
        return CheckpointState.model_validate(checkpoint.entry.run_state)
    except ValidationError:
        raise CheckpointError(f"{str(checkpoint.path)!r} tells nothing of the run that it belongs to") from None


def _payloads(patterns: Iterable[str]) -> set[Location]:
    places = [backend_for(location(pattern + suffix)) for pattern in patterns for suffix in ("", MANIFEST)]
    return {found.with_name(found.name.removesuffix(MANIFEST)) for place in places for found in place.glob()}


def _newest(found: list[CheckpointInfo], mine: VerificationShare) -> Checkpoint | None:
    """The newest intact one that remembers its run; one with weights alone only where no other holds more."""
    runs = [each for each in found if each.entry is None or each.entry.run_state]
    runs.sort(key=lambda each: each.entry is not None and each.entry.weights_only)
    first, passed_over = newest(runs, mine)
    for each in passed_over:
        LOG.warning("passed over: %s: %s", each.path, each.flaw or "it tells nothing of its run")
    return first


def _with_shares(checkpoint: Checkpoint, memory: CheckpointState, rank: int, world_size: int) -> CheckpointState:
    """With what other ranks than the first remember, as far as this one needs it, where it lies beside their parts."""
    parts = {part.name.rpartition("/")[2]: part for part in checkpoint.entry.parts}
    needed: Iterable[int] = [rank] if world_size == memory.world_size else []
    if rank == 0 and not needed and memory.position.inside:  # it goes on from the metrics that all had
        needed = range(1, memory.world_size)
    others = [RankState()] * (memory.world_size - 1)
    for each in needed:
        part = parts.get(RANK_FILE.format(each))
        if part is not None and isinstance(checkpoint.path, Path):
            others[each - 1] = RankState.model_validate_json(read_part(checkpoint.path, part))
    return memory.model_copy(update={"others": others}) if RANK_FILE.format(1) in parts else memory


class PluginMatch(NamedTuple):
    """What of a memory fits the listed callbacks."""

    fitting: dict[str, PluginState]
    """Name of a plugin to what it knew, where that still means the same."""
    same: dict[str, str]
    """Name that a plugin had to the name that it has now, where its settings are as they were."""
    differences: list[str]
    """What is not as it was, a line each."""


def match_plugins(
    remembered: Iterable[PluginState], plugins: Mapping[str, object], callbacks: Mapping[str, Callback]
) -> PluginMatch:
    """Find for each plugin what it knew: by equal settings first, then by its name."""
    now = {name: _settings(callbacks.get(name)) for name in plugins}
    left = {each.name: each for each in remembered if each.callback or each.memory is not None}
    pairs: dict[str, PluginState] = {}
    for by_settings in (True, False):
        for name, (callback, settings) in now.items():
            if name in pairs:
                continue
            for other in left.values():
                alike = _decisive(other.settings) == _decisive(settings) if by_settings else other.name == name
                if other.callback == callback and alike and (callback or other.name == name):
                    pairs[name] = left.pop(other.name)
                    break
    fitting: dict[str, PluginState] = {}
    same: dict[str, str] = {}
    differences: list[str] = []
    for name, plugin in plugins.items():
        before, made_by = pairs.get(name), callbacks.get(name)
        if before is None:
            if made_by is not None or isinstance(plugin, HasStateDict):
                differences.append(f"{name} is new: it begins afresh")
            continue
        changed = _changes(_decisive(before.settings), _decisive(now[name][1]))
        fits = made_by is None or made_by.compatible_with(before.settings)
        if fits:
            fitting[name] = before
        if changed:
            differences.append(
                f"{name}: {', '.join(changed)}: {'it keeps what it knew' if fits else 'it begins afresh'}"
            )
        else:
            same[before.name] = name
    differences += [f"{name} is gone: what it knew is dropped" for name in left]
    return PluginMatch(fitting, same, differences)


def _settings(callback: Callback | None) -> tuple[str, dict[str, Any]]:
    settings = {} if callback is None else callback.settings()
    return settings.pop("callback", ""), settings


def _decisive(settings: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in settings.items() if name not in UNDECISIVE}


def _changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    names = dict.fromkeys([*before, *after])
    return [
        f"{name} {before.get(name)!r} -> {after.get(name)!r}" for name in names if before.get(name) != after.get(name)
    ]


def _unlike(subject: object, path: Location) -> str:
    """In words, which files the subject has, where this is none of them."""
    if missing(subject, Saveable) is not None or not isinstance(subject, Saveable):
        return ""
    own = dict.fromkeys([*subject.suffixes(weights_only=False), *subject.suffixes(weights_only=True)])
    return "" if suffix_of(path) in own else f"; {type(subject).__name__} writes and reads {', '.join(own)}"


class Resumption:
    """A run that goes on from a checkpoint.

    Args:
        checkpoint: where it goes on from.
        plugins: name to plugin of all that listen now.
        callbacks: name of a plugin to the callback that made it.
        rank: the number of this process.
        world_size: how many there are.

    Raises:
        CheckpointError: the checkpoint tells nothing of its run.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        plugins: Mapping[str, object],
        callbacks: Mapping[str, Callback],
        *,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        self.checkpoint = checkpoint
        self.rank = rank
        whole = _with_shares(checkpoint, memory_of(checkpoint), rank, world_size)
        self.memory = whole.of(rank, world_size)
        if rank == 0 and len(whole.others) + 1 < world_size == whole.world_size:
            LOG.warning(
                "%s was saved by rank 0 alone: random generators of the others begin afresh", self.checkpoint.path
            )
        self.plugins = plugins
        self.match = match_plugins(self.memory.plugins, plugins, callbacks)
        self.loaders = dict(enumerate(self.memory.loaders))
        """Number of a loop over batches to where its loader stood, until it has been brought back."""
        self.inside = self.memory.position.inside
        """Whether the run was interrupted inside an epoch, and has not arrived where it was."""

    def tell(self, *, strict: bool) -> None:
        """Say each difference between the callbacks of then and now.

        Raises:
            SettingsError: there is one, and `strict` allows none.
        """
        differences = self.match.differences
        if strict and differences:
            lines = "\n".join(f"- {each}" for each in differences)
            raise SettingsError(
                f"resume_strict: the callbacks are not those of {str(self.checkpoint.path)!r}:\n{lines}"
            )
        for each in differences:
            LOG.warning("resumed from %s: %s", self.checkpoint.path, each)

    def stops(self) -> list[Stop]:
        """The stops that hold still: nothing changed in the settings of whoever asked for them."""
        actions = [action_from_json(each) for each in self.memory.stops]
        return [each for each in actions if isinstance(each, Stop) and self._holds(each)]

    def decision(self) -> Decision:
        """What was decided when the checkpoint was saved, as far as it holds still."""
        decided = decision_from_json(self.memory.decision)
        return Decision(frozenset(each for each in decided if self._holds(each)))

    def _holds(self, action: Action) -> bool:
        return action.by in self.match.same or action.by not in {each.name for each in self.memory.plugins}

    def restore_subject(self, subject: object, slots: SnapshotStore) -> None:
        """Let the subject stand where the checkpoint has it, and fill the slots.

        Raises:
            MissingCapability: the subject cannot be restored.
            CheckpointError: a file is damaged, or belongs to another subject.
        """
        why = missing(subject, Restorable)
        if why:
            raise MissingCapability(f"resume needs Restorable, but {why}")
        assert isinstance(subject, Restorable)
        try:
            self._load(subject, slots)
        except Exception as error:
            error.add_note(f"while resuming from {str(self.checkpoint.path)!r}{_unlike(subject, self.checkpoint.path)}")
            raise
        slots.link_to(self.checkpoint, linked=self.rank == 0)
        if self.checkpoint.entry.weights_only:
            LOG.warning("%s was saved with save_weights_only: the rest begins afresh", self.checkpoint.path)
            if missing(subject, HasLearningRate) is None and isinstance(subject, HasLearningRate):
                subject.set_learning_rates(
                    {n: r for n, r in self.memory.rates.items() if n in subject.learning_rates()}
                )

    def _load(self, subject: Restorable, slots: SnapshotStore) -> None:
        """Let the subject take over what lies in slots, to keep it, and then the checkpoint."""
        files, lost = find_snapshot_files(self.checkpoint, self.memory.slots, verify=self.rank == 0)
        for slot, flaw in lost.items():
            slots.mark_lost(slot)
            if self.rank == 0:
                LOG.warning("resumed from %s: what was kept as %r is lost: %s", self.checkpoint.path, slot, flaw)
        for slot, file in files.items():
            if file is not None and isinstance(subject, Snapshotable):
                with local_copy(file.path, file.digest) as there:
                    subject.load(there)
                slots.keep(slot, subject.snapshot(), file)
        with local_copy(self.checkpoint.path, self.checkpoint.entry.digest) as there:
            subject.load(there)
        for slot, file in files.items():
            if file is None and isinstance(subject, Snapshotable):
                slots.keep(slot, subject.snapshot())

    def first_batch(self, number: int) -> int:
        """The first batch of a loop over batches of the interrupted epoch that was not trained on."""
        position = self.memory.position
        return position.batches if number == position.loops else 0

    def rest(self, number: int, loader: Iterable[T], subject: object) -> Iterator[T]:
        """What is left of a loop over batches of the interrupted epoch: nothing of one that was left behind."""
        state = self.loaders.pop(number, None)
        if number < self.memory.position.loops:
            restore_loader(loader, state)
            return
        skip = self.memory.position.batches
        if is_stateful(loader):
            skip = 0 if restore_loader(loader, state) else skip
        else:
            restore_loader(loader, self.memory.loop_loader)
        self.set_random(subject, loop=True)
        batches = iter(loader)
        for _ in range(skip):
            next(batches, None)
        self.arrive(subject)
        yield from batches

    def arrive(self, subject: object) -> None:
        """The run stands where it was interrupted: random generators and subject go on from there."""
        self.inside = False
        self.set_random(subject)
        self.recall_subject(subject)

    def recall_subject(self, subject: object) -> None:
        """Let the subject know again what it knew."""
        if self.memory.subject is not None and isinstance(subject, HasRunState):
            subject.load_run_state(from_json_data(self.memory.subject))

    def recall(self, subject: object, failures: Failures) -> None:
        """Let plugins and subject know again what they knew."""
        self.recall_subject(subject)
        for name, before in self.match.fitting.items():
            plugin = self.plugins[name]
            if before.memory is None or not isinstance(plugin, HasStateDict):
                continue
            try:
                plugin.load_state_dict(from_json_data(before.memory))
            except Exception as error:
                if not is_observer(plugin):
                    add_plugin_note(error, "load_state_dict", name)
                    raise
                failures.tolerate(name, "load_state_dict", error)

    def set_random(self, subject: object, *, loop: bool = False) -> None:
        """Bring the random generators back, or with `loop` to where they stood before the interrupted loop began."""
        state = self.memory.loop_random if loop else self.memory.random
        if state is not None:
            set_rng_state(from_json_data(state), subject)
