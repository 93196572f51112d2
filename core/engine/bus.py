"""Carries events to plugins, and joins their answers into one decision."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Literal

import pluggy

from ..decision import NOTHING, Decision, join
from ..errors import LoopError, SettingsError
from ..failures import is_observer
from ..hooks import HOOKS, PROJECT, Hooks
from .dispatch import CompiledHook, HookResults, call_all, compile_hook
from .executor import Executor

__all__ = ["Bus"]


class Bus(Executor):
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
        super().__init__(subject)
        self._manager = pluggy.PluginManager(PROJECT)
        self._manager.add_hookspecs(Hooks)
        self.through: Callable[[str, CompiledHook], CompiledHook] | None = None
        """What each hook that somebody hears is made into."""
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
        if self._compiled_without != self.failures.disabled:
            self._compile()

    def _compile(self) -> None:
        self._askers: dict[str, list[str]] = {}
        self._compiled_without = off = set(self.failures.disabled)
        for name in HOOKS:
            hook: pluggy.HookCaller = getattr(self._manager.hook, name)
            compiled = compile_hook(hook, self.failures)
            setattr(self, name, compiled if compiled is None or self.through is None else self.through(name, compiled))
            names = [each.plugin_name for each in reversed(hook.get_hookimpls())]
            self._askers[name] = [each for each in names if each not in off]

    def decides(self, hook: str) -> bool:
        """Whether anybody listens who does not only observe."""
        caller: pluggy.HookCaller = getattr(self._manager.hook, hook)
        return any(not is_observer(each.plugin) for each in caller.get_hookimpls())

    def decision(self, hook: str, answers: HookResults) -> Decision:
        """The answers to one event as one decision, each action signed by the plugin that asked for it.

        Raises:
            LoopError: a plugin answered with something else than a `Decision` or None.
        """
        decision, errors = self._joined(hook, self._askers[hook], answers)
        if errors:
            raise errors[0]
        return decision

    def _joined(self, hook: str, askers: list[str], answers: HookResults) -> tuple[Decision, list[Exception]]:
        if len(askers) != len(answers):
            askers = [""] * len(answers)
        decisions: list[Decision] = []
        errors: list[Exception] = []
        for asker, answer in zip(askers, answers, strict=True):
            if isinstance(answer, Decision):
                decisions.append(answer.signed(asker))
            elif answer is not None:
                error = LoopError(f"{asker or 'a plugin'} answered {hook} with {answer!r}; answer a Decision or None")
                if is_observer(self._manager.get_plugin(asker)):
                    self.failures.record_hook_error(asker, hook, error)
                else:
                    errors.append(error)
        return join(decisions), errors

    def tell_all(
        self, hook: Literal["on_exception", "on_train_end"], **values: Any
    ) -> tuple[Decision, list[Exception]]:
        """Tell every plugin, also after one has raised; what the others decide at the end, and what was raised."""
        caller: pluggy.HookCaller = getattr(self._manager.hook, hook)
        # also one that is switched off is told of the end, so that it can close its files
        without = () if hook == "on_train_end" else self.failures.disabled
        answers, errors = call_all(caller, values, self.failures, without)
        if hook != "on_train_end":
            return NOTHING, errors
        askers = [each.plugin_name for each in reversed(caller.get_hookimpls())]
        decision, wrong = self._joined(hook, askers, answers)
        return decision, errors + wrong
