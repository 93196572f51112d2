"""Continue a run from a checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, Protocol

from ..callback import Callback
from ..capabilities import (
    HasLearningRate,
    HasRunState,
    Restorable,
    Saveable,
    SnapshotsMore,
    has,
    missing,
    supports,
)
from ..checkpoints import Checkpoint
from ..checkpoints.history.history_reader import history_file
from ..checkpoints.run_files import RunFiles
from ..checkpoints.snapshots import SnapshotStore
from ..decision import Decision, Stop
from ..errors import CheckpointError, MissingCapability, SettingsError
from ..failures import LOG, Failures
from ..metrics.extremes import Extremes, known_epochs
from ..metrics.origin import Origin
from ..metrics.running_means import RunningMeans
from ..storage.atomic_file import suffix_of
from ..storage.backend import existing
from ..storage.paths import Location, StartDirectory
from .checkpoint_loading import load_with_snapshots
from .checks.state_check import check_state
from .last_decision import LastDecision
from .loaders.loader_resumption import LoaderResumption
from .locate import state_of
from .other_ranks import with_other_ranks
from .owned_files import OwnedFiles
from .plugins.matching import match_plugins
from .plugins.state_loading import load_states
from .rng_state import restore_rng_state
from .run_history import Followed, Past, read_past
from .script.given_state import keep_given
from .script.hparams import merged_hparams
from .script.options import options_of, report_script_options
from .script.rates import apply_script_rates, rates_of
from .serialization import from_json_data
from .state import Position


class Resumable(Protocol):
    """The part of ``RunState`` that a resumption restores."""

    origin: Origin
    hparams: Mapping[str, Any]
    resumed: Checkpoint | None
    epoch_metrics: list[tuple[int, Mapping[str, Any]]]
    earlier_epochs: int
    extremes: Extremes
    followed: Followed | None
    metrics: Mapping[str, Any]
    decision_log: list[tuple[int, Decision]]
    files: RunFiles
    stop_actions: list[Stop]
    epoch: int
    epochs_started: int
    epochs_finished: int
    means: RunningMeans
    learning_rates: Mapping[str, float]
    validated: bool
    script_learning_rates: Mapping[str, float]
    script_options: Mapping[str, str]

    def continue_run(self, run_id: str) -> None:
        """Continue the run with this identifier."""
        ...

    def restore_counters(self, step: int, trained_batches: int) -> None:
        """Set the weight updates of the run, and how many batches of the current loop were trained on."""
        ...


class Resumption:
    """A run that continues from a checkpoint.

    Args:
        checkpoint: The checkpoint from which the run continues.
        given: The snapshots of a state that was given without a file, whose subject somebody else has restored; None
            for a checkpoint.
        plugins: Name of each plugin of the run to the plugin.
        callbacks: Name of a plugin to the callback that made it.
        subject: What is trained.
        rates: Which learning rates to use if the script has changed them: a ``RateSource``.
        rank: The number of this process.
        world_size: The number of processes.

    Raises:
        CheckpointError: The checkpoint holds no state of a run.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        given: Mapping[str, object] | None,
        plugins: Mapping[str, object],
        callbacks: Mapping[str, Callback],
        subject: object = None,
        *,
        rates: str = "checkpoint",
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        self.checkpoint, self._given, self._start = checkpoint, given, StartDirectory()
        saved = with_other_ranks(checkpoint, state_of(checkpoint), rank, world_size)
        self.state = saved.for_rank(rank, world_size).found_at(checkpoint.path, self._start)
        self.stored = self.state.model_copy(update={"world_size": world_size, "other_ranks": []})
        """What the rest of the decision that saved the checkpoint is saved with."""
        self.mid_epoch = self.state.position.mid_epoch
        """Whether the run was interrupted in the middle of an epoch, and has not reached that point again."""
        self._leads = rank == 0
        """Whether this process logs messages and creates the files of snapshots."""
        if self._leads and len(saved.other_ranks) + 1 < saved.world_size:
            LOG.warning(
                "%s was saved by rank 0 alone: the other ranks' random generators%s are not restored",
                checkpoint.path,
                " and metrics of the epoch" if self.mid_epoch else "",
            )
        self._plugins = plugins
        self._rates = rates
        self._script_rates: Mapping[str, float] = {}
        self._script_options: Mapping[str, str] = {}
        self._match = match_plugins(self.state.plugins, plugins, callbacks, subject)
        self._owned = OwnedFiles.of(callbacks.values(), subject)
        self._of_plain_plugins = self._owned.and_directory(checkpoint.path.parent)
        """Also the files beside the checkpoint, since nothing says where a plugin without a callback saves."""
        self.last_decision = LastDecision(
            checkpoint,
            self.state,
            self._match,
            self._owned,
            self._of_plain_plugins,
            plugins.keys() - callbacks.keys(),
            self._start,
            self._warn,
        )
        """The decision that saved the checkpoint."""
        self.loaders = LoaderResumption(self.state, world_size, self._warn)
        """Restores the loaders of loops over batches."""

    @property
    def position(self) -> Position:
        """How far the run had come."""
        return self.state.position

    @property
    def loop_rng(self) -> Any:
        """The states of the random generators before the interrupted loop began."""
        return from_json_data(self.state.rank_state.loop_rng)

    @property
    def loop_loader(self) -> Any:
        """The state of the interrupted loop's loader before the loop began."""
        return self.state.rank_state.loop_loader

    def check(self, subject: object = None) -> None:
        """Parse all data of the state, before any of it is used.

        Args:
            subject: What is trained; its generators and its own state are set to the saved ones, and back.

        Raises:
            ValueError: Some are damaged, or declare more than they hold; other errors are possible for other damage.
        """
        check_state(self.state, self._match.states, self._plugins, subject)

    def refuse_differences(self) -> None:
        """Refuse callbacks that differ from those of the checkpoint.

        Raises:
            SettingsError: Some differ; the message names each difference.
        """
        if self._match.differences and self._leads:
            lines = "\n".join(f"- {each}" for each in self._match.differences)
            path = str(self.checkpoint.path)
            raise SettingsError(f"resume_strict: the callbacks differ from those of {path!r}:\n{lines}")

    def report_differences(self) -> None:
        """Log on rank 0 each difference between the callbacks of the checkpoint and those of the run."""
        for each in self._match.differences:
            self._warn("%s", each)

    def restore_subject(self, subject: object, snapshots: SnapshotStore) -> None:
        """Load the checkpoint into the subject, and its snapshots into memory; of a given state, only the snapshots.

        Raises:
            MissingCapability: The subject cannot load files.
            UnreadableCheckpoint: The checkpoint cannot be read; the subject is unchanged.
            CheckpointError: A file is damaged, or belongs to another subject.
        """
        if self._given is not None:
            self._report_lost(keep_given(self.state.slots, self._given, snapshots))
            snapshots.begun_elsewhere = True
            self._script_rates, self._script_options = self.state.script_learning_rates, self.state.script_options
            return
        why = missing(subject, Restorable)
        if why:
            raise MissingCapability(f"resume needs Restorable, but {why}")
        assert has(subject, Restorable)
        path, script_rates, script_options = self.checkpoint.path, rates_of(subject), options_of(subject)
        flaw_of = self._of_plain_plugins.flaw_of_snapshot  # the user has named the directory of the checkpoint
        try:
            lost = load_with_snapshots(
                self.checkpoint, self.state.slots, subject, snapshots, flaw_of, verify=self._leads
            )
        except Exception as error:
            error.add_note(f"while resuming from {str(path)!r}{_other_suffixes(subject, path)}")
            raise
        self._report_lost(lost)
        snapshots.begun_elsewhere = True
        directory = self._owned.directory_for(path)
        if directory != path.parent:
            snapshots.bring_into(directory, unless=self._owned.holds, linked=self._leads)
        snapshots.link_to(self.checkpoint, directory=directory, linked=self._leads)
        if self.checkpoint.entry.weights_only:
            more = subject.left_out_of_weights() if has(subject, SnapshotsMore) else ()
            also = f", also {', '.join(more)}" if more else ""
            LOG.warning("%s was saved with save_weights_only: everything else starts from the beginning%s", path, also)
            if supports(subject, HasLearningRate):
                known = subject.learning_rates()
                rates = {name: rate for name, rate in self.state.learning_rates.items() if name in known}
                subject.set_learning_rates(rates)
        before = self.state.script_learning_rates
        warn = partial(self._warn, "%s")
        self._script_rates = apply_script_rates(subject, before, script_rates, self._rates, warn)
        self._script_options = report_script_options(
            subject, self.state.script_options, self.state.options, script_options, warn
        )

    def restore_run(self, run: Resumable) -> None:
        """Restore the data of the run."""
        state, position = self.state, self.position
        run.resumed = self.checkpoint
        run.continue_run(state.run)
        run.origin = state.origin
        run.hparams, changes = merged_hparams(state.hparams, run.hparams)
        if changes:
            self._warn("hparams differ, and those of the script are used: %s", ", ".join(changes))
        past, file = self._past()
        run.epoch_metrics, run.decision_log = past.epochs, past.decisions
        run.earlier_epochs = max(state.epochs_recorded - len(past.epochs), 0)
        run.extremes = known_epochs(past.epochs)
        run.metrics = past.epochs[-1][1] if past.epochs else {}
        run.stop_actions += self.last_decision.earlier_stops()
        run.script_learning_rates, run.script_options = self._script_rates, self._script_options
        run.epoch = self.checkpoint.epoch
        run.epochs_started = run.epochs_finished = position.epochs
        run.restore_counters(self.checkpoint.step, position.batches)
        run.files.replace(past.files)
        run.followed = Followed(file, state.history, (len(past.epochs), len(past.decisions), len(run.files.log)))
        listed, refusal = self._of_plain_plugins.listed(past.files, self.checkpoint.path)
        if refusal:
            self._warn("%s", refusal)
        for problem in self._owned.gone(listed):
            self._warn("%s", problem)
        own = self._start.identity(self.checkpoint.path)
        is_file = self._given is None and own not in map(self._start.identity, listed)
        run.files.replace([*listed, self.checkpoint.path] if is_file else listed)
        run.files.leave_out_missing(existing(run.files))

    def restore_epoch(self, run: Resumable) -> None:
        """Restore the metrics and counters of the interrupted epoch; its loop may count its batches otherwise."""
        run.means.load_sums(from_json_data(self.state.rank_state.means))
        run.learning_rates = self.state.first_learning_rates
        run.validated = self.state.validated
        run.restore_counters(self.checkpoint.step, self.position.batches)

    def restore_plugins(self, subject: object, failures: Failures) -> None:
        """Restore the states of the plugins, and the subject's state that its files do not hold.

        Raises:
            CheckpointError: A plugin that decides cannot load its state.
        """
        self._restore_run_state(subject)
        load_states(self._match.states, self._plugins, failures, self.checkpoint.path)

    def restore_rng(self, subject: object) -> None:
        """Restore the random generators."""
        restore_rng_state(self.state.rank_state.rng, subject)

    def restore_epoch_rng(self, subject: object) -> None:
        """Restore the random generators as they were when the interrupted epoch began."""
        restore_rng_state(self.state.rank_state.epoch_rng, subject)

    def reach(self, subject: object) -> None:
        """Restore generators and subject when the loop has reached the point of the interruption."""
        self.mid_epoch = False
        self.restore_rng(subject)
        self._restore_run_state(subject)

    def _past(self) -> tuple[Past, Location | None]:
        """Return what the run did before the checkpoint, and the file of its history; report one that is not usable."""
        reference, file = self.state.history, None
        try:
            if reference.file:
                file = history_file(self.checkpoint.path.parent, reference)
                if flaw := self._of_plain_plugins.flaw_of_history(file):
                    raise CheckpointError(f"{str(file)!r} is not opened: {flaw}")
            return read_past(self.checkpoint, reference, self._start), file and self._start.fixed(file)
        except CheckpointError as error:
            what = "epoch" if self.state.validate_every is None else "validation"
            self._warn("the history before %s %d is missing: %s", what, self.position.epochs + 1, error)
        return Past([(epoch, from_json_data(metrics)) for epoch, metrics in self.state.known_epochs], [], []), None

    def _restore_run_state(self, subject: object) -> None:
        saved = self.state.rank_state.subject
        if saved is not None and has(subject, HasRunState):
            subject.load_run_state(from_json_data(saved))

    def _report_lost(self, lost: Mapping[str, str]) -> None:
        for slot, flaw in lost.items():
            self._warn("the snapshot %r is lost: %s", slot, flaw)

    def _warn(self, problem: str, *values: object) -> None:
        """Log a problem on rank 0."""
        if self._leads:
            LOG.warning(f"%s: {problem}", self.checkpoint.path, *values)


def _other_suffixes(subject: object, path: Location) -> str:
    """Name the suffixes that the subject can read, unless the path has one of them."""
    if not supports(subject, Saveable):
        return ""
    own = dict.fromkeys([*subject.suffixes(weights_only=False), *subject.suffixes(weights_only=True)])
    return "" if suffix_of(path) in own else f"; this model is saved as {', '.join(own)}"
