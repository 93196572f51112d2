"""Carries events to plugins, joins their answers into one decision and carries it out."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import pluggy

from .capabilities import HasLearningRate, Restorable, Saveable, Snapshotable, missing
from .checkpoints import Checkpoint, commit, manifest_of, read, remove
from .decision import NOTHING, Action, Decision, Forget, Keep, Restore, Save, ScaleLearningRate, join
from .dispatch import Answers, CompiledHook, call_each, compile_hook
from .errors import CheckpointError, LoopError, MissingCapability, SettingsError
from .failures import LOG, Failures, observes
from .hooks import HOOKS, PROJECT, Hooks
from .memory import Memory, capture
from .metrics import numbers
from .slots import Slots

if TYPE_CHECKING:
    from .events import Events

__all__ = ["Bus", "Outcome"]


class Outcome(NamedTuple):
    """What became of a decision."""

    done: Decision
    """The actions that were carried out."""
    committed: list[Checkpoint]
    unwritten: dict[Path, CheckpointError]
    """The files that could not be written, where whoever asked for them wants the training to go on."""


class Bus:
    """The plugins of one run and the subject that they decide about.

    Each hook stands here compiled, as an attribute of its name: None while nobody listens.
    """

    on_train_begin: CompiledHook | None
    on_epoch_begin: CompiledHook | None
    on_batch_begin: CompiledHook | None
    on_batch_end: CompiledHook | None
    on_validation_begin: CompiledHook | None
    on_validation_end: CompiledHook | None
    on_epoch_end: CompiledHook | None
    on_decision: CompiledHook | None
    on_checkpoint: CompiledHook | None
    on_checkpoint_error: CompiledHook | None

    def __init__(self, subject: object = None) -> None:
        self.subject = subject
        self._manager = pluggy.PluginManager(PROJECT)
        self._manager.add_hookspecs(Hooks)
        self.slots = Slots()
        self.directories: tuple[Path, ...] = ()
        """Those that the run owns."""
        self.failures = Failures()
        self._compile()

    def register(self, plugins: Iterable[tuple[str, object]]) -> None:
        """Let plugins listen, each under its name; they are called in this order, before those that listen already.

        Raises:
            SettingsError: a plugin listens already, or equals one that does.
        """
        for name, plugin in reversed(list(plugins)):  # pluggy calls the last one registered first
            try:
                self._manager.register(plugin, name)
            except ValueError:
                raise SettingsError(f"{name} is listed twice; list each plugin object once") from None
        self._compile()

    def settle(self) -> None:
        """Leave out the plugins that were switched off, now that no loop holds a hook."""
        if self._compiled_without != self.failures.off:
            self._compile()

    def _compile(self) -> None:
        self._askers: dict[str, list[str]] = {}
        self._compiled_without = off = set(self.failures.off)
        for name in HOOKS:
            hook: pluggy.HookCaller = getattr(self._manager.hook, name)
            setattr(self, name, compile_hook(hook, self.failures))
            names = [each.plugin_name for each in reversed(hook.get_hookimpls())]
            self._askers[name] = [each for each in names if each not in off]

    def decision(self, hook: str, answers: Answers) -> Decision:
        """The answers to one event as one decision, each action signed by the plugin that asked for it.

        Raises:
            LoopError: a plugin answered with something else than a `Decision` or None.
        """
        decision, errors = self._joined(hook, self._askers[hook], answers)
        if errors:
            raise errors[0]
        return decision

    def _joined(self, hook: str, askers: list[str], answers: Answers) -> tuple[Decision, list[Exception]]:
        if len(askers) != len(answers):
            askers = [""] * len(answers)
        decisions: list[Decision] = []
        errors: list[Exception] = []
        for asker, answer in zip(askers, answers, strict=True):
            if isinstance(answer, Decision):
                decisions.append(answer.signed(asker))
            elif answer is not None:
                error = LoopError(f"{asker or 'a plugin'} answered {hook} with {answer!r}; answer a Decision or None")
                if observes(self._manager.get_plugin(asker)):
                    self.failures.tolerate(asker, hook, error)
                else:
                    errors.append(error)
        return join(decisions), errors

    def carry_out(self, decision: Decision, run: Events) -> Outcome:
        """Do what the decision says, in the order of its actions.

        Of several new learning rates the lowest wins; one file is written once, whole if anyone wants it whole; what
        the same decision saves or keeps is not forgotten. Whose file could not be written forgets nothing.

        Raises:
            MissingCapability: the subject cannot do it.
            CheckpointError: a file could not be written, or is not there to be restored.
        """
        actions = list(decision)
        self._scale([action for action in actions if isinstance(action, ScaleLearningRate)])
        self._keep([action for action in actions if isinstance(action, Keep)])
        committed, unwritten = self._save(decision, run)
        if unwritten:
            losers = {action.by for action in actions if isinstance(action, Save) and Path(action.path) in unwritten}
            actions = [
                action
                for action in actions
                if not (isinstance(action, Save) and Path(action.path) in unwritten)
                and not (isinstance(action, Forget) and action.by in losers)
            ]
        for action in actions:
            if isinstance(action, Restore):
                self._restore(action)
        made = {action.path if isinstance(action, Save) else getattr(action, "slot", None) for action in actions}
        for action in actions:
            if isinstance(action, Forget) and action.source not in made:
                self._forget(action)
        return Outcome(Decision(frozenset(actions)), committed, unwritten)

    def finish(self, decision: Decision, run: Events, checkpoint: Checkpoint) -> Outcome:
        """Carry out to its end a decision of which saving `checkpoint` was a part, and after which the run died.

        What else it saved is saved now where that is not there yet, and what it forgot is forgotten.
        """
        there = [_same_moment(action, checkpoint) for action in decision if isinstance(action, Save)]
        committed = {each.path: each for each in there if each is not None}
        left = frozenset(
            action
            for action in decision
            if isinstance(action, Forget) or (isinstance(action, Save) and Path(action.path) not in committed)
        )
        outcome = self.carry_out(Decision(left), run)
        done = decision.actions - (left - outcome.done.actions)
        return Outcome(Decision(done), [*committed.values(), *outcome.committed], outcome.unwritten)

    def tell_all(
        self, hook: Literal["on_exception", "on_train_end"], **values: Any
    ) -> tuple[Decision, list[Exception]]:
        """Tell every plugin, also after one has raised; what the others decide at the end, and what was raised."""
        caller: pluggy.HookCaller = getattr(self._manager.hook, hook)
        # also one that is switched off is told of the end, so that it can close its files
        without = () if hook == "on_train_end" else self.failures.off
        answers, errors = call_each(caller, values, self.failures, without)
        if hook != "on_train_end":
            return NOTHING, errors
        askers = [each.plugin_name for each in reversed(caller.get_hookimpls())]
        decision, wrong = self._joined(hook, askers, answers)
        return decision, errors + wrong

    def _require(self, capability: type, actions: Iterable[Action]) -> None:
        for action in actions:
            why = missing(self.subject, capability)
            if why:
                raise MissingCapability(f"{action.by or 'the loop'} asked for {action}, but {why}")

    def _scale(self, actions: list[ScaleLearningRate]) -> None:
        self._require(HasLearningRate, actions)
        if actions and isinstance(self.subject, HasLearningRate):
            rates = self.subject.learning_rates()
            scaled = {name: min(action.applied_to(rate) for action in actions) for name, rate in rates.items()}
            self.subject.set_learning_rates({name: rate for name, rate in scaled.items() if rate != rates[name]})

    def _keep(self, actions: list[Keep]) -> None:
        self._require(Snapshotable, actions)
        if actions and isinstance(self.subject, Snapshotable):
            snapshot = self.subject.snapshot()
            for slot in {action.slot for action in actions}:
                self.slots.keep(slot, snapshot)

    def _save(self, decision: Decision, run: Events) -> tuple[list[Checkpoint], dict[Path, CheckpointError]]:
        actions = [action for action in decision if isinstance(action, Save)]
        self._require(Saveable, actions)
        memory = capture(run, decision, self.failures) if actions else None
        wanted: dict[Path, list[Save]] = {}
        for action in actions:
            wanted.setdefault(Path(action.path), []).append(action)
        committed: list[Checkpoint] = []
        unwritten: dict[Path, CheckpointError] = {}
        for path, same in wanted.items():
            try:
                assert memory is not None
                committed.append(self._write(path, same, run, memory))
            except CheckpointError as error:
                askers = " and ".join(sorted({action.by or "the loop" for action in same}))
                if any(action.on_error == "raise" for action in same):
                    error.add_note(f"asked for by {askers}")
                    raise
                failure = self.failures.add(askers, "", error)
                LOG.warning("%s; the training goes on", failure)
                unwritten[path] = error
        self._write_slots(committed)
        return committed, unwritten

    def _write_slots(self, committed: list[Checkpoint]) -> None:
        """Bring what this decision has kept to the disk, where checkpoints will have to remember it."""
        if not self.slots.fresh:
            return
        if committed:
            self.slots.lie_in(committed[0])
        elif self.directories and isinstance(self.subject, Saveable) and missing(self.subject, Saveable) is None:
            subject = self.subject
            suffix = subject.suffixes(weights_only=True)[0]
            try:
                self.slots.write(self.directories[0], suffix, lambda staged: subject.save(staged, weights_only=True))
            except (OSError, RuntimeError) as error:
                failure = self.failures.add("Keep", "", CheckpointError(f"what was kept is in memory only: {error}"))
                LOG.warning("%s; the training goes on", failure)
        self.slots.prune(self.directories)

    def _write(self, path: Path, actions: list[Save], run: Events, memory: Memory) -> Checkpoint:
        subject = self.subject
        assert isinstance(subject, Saveable)
        weights_only = all(action.weights_only for action in actions)
        return commit(
            path,
            lambda staged: subject.save(staged, weights_only=weights_only),
            epoch=run.epoch,
            step=run.step,
            weights_only=weights_only,
            metrics=numbers(run.metrics),
            reason="; ".join(dict.fromkeys(action.reason for action in actions if action.reason)),
            memory=memory.model_copy(update={"slots": self.slots.memory(path)}).model_dump(exclude_defaults=True),
        )

    def _restore(self, action: Restore) -> None:
        if action.source in self.slots:
            self._require(Snapshotable, [action])
            if isinstance(self.subject, Snapshotable):
                self.subject.restore(self.slots[action.source])
            return
        self._require(Restorable, [action])
        path = Path(action.source)
        if not path.is_file():
            kept = ", ".join(map(repr, self.slots)) or "nothing"
            raise CheckpointError(f"{action.source!r} cannot be restored: no such file, and kept in memory is {kept}")
        if manifest_of(path).exists():
            read(path)  # so that a damaged file is refused before it changes anything
        if isinstance(self.subject, Restorable):
            self.subject.load(path)

    def _forget(self, action: Forget) -> None:
        if not self.slots.drop(action.source):
            remove(Path(action.source))


def _same_moment(action: Save, checkpoint: Checkpoint) -> Checkpoint | None:
    """What the action has saved at the moment of this checkpoint; None where it had not come so far."""
    path = Path(action.path)
    try:
        there = read(path)
    except CheckpointError:
        return None
    return (
        there
        if there.content.memory.get("plugins") == checkpoint.content.memory.get("plugins")
        and (there.epoch, there.step) == (checkpoint.epoch, checkpoint.step)
        else None
    )
