"""Send events to plugins, and join their answers into one decision."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Literal, Protocol

import pluggy

from ..decision import NOTHING, Decision, join
from ..errors import LoopError, SettingsError
from ..failures import Failures, is_observer
from ..hooks import HOOKS, PROJECT, Hooks
from .dispatch import CompiledHook, HookResults, call_all, compile_hook
from .execution_result import ExecutionResult


class BoundHook(Protocol):
    """One hook, as a bus stores it."""

    name: str
    call: CompiledHook
    """Calls the plugins."""
    decides: bool
    """Whether a plugin that is not an observer implements the hook."""

    def join(self, results: HookResults | Decision) -> Decision:
        """Join what the call has returned into one decision."""
        ...


class _Hook:
    """One hook, compiled for the plugins that implement it."""

    def __init__(self, name: str, call: CompiledHook, plugins: list[tuple[str, object]], failures: Failures) -> None:
        self.name = name
        self.call = call
        self.decides = any(not is_observer(plugin) for _, plugin in plugins)
        self._plugins = plugins
        self._failures = failures

    def join(self, results: HookResults | Decision) -> Decision:
        """Join what a call has returned into one decision, each action signed by the plugin that asked for it.

        Args:
            results: The results of the plugins; or the decision itself, if a group of ranks has joined it already.

        Raises:
            LoopError: A plugin returned something other than a ``Decision`` or None.
        """
        if isinstance(results, Decision):
            return results
        decision, errors = _join(self.name, self._plugins, results, self._failures)
        if errors:
            raise errors[0]
        return decision


class Bus:
    """The plugins of one run, and the hooks by which they are called.

    Each hook is an attribute of its name: a compiled function, or None if no plugin implements it.

    Args:
        failures: Records what observers raise.
        bind: Called once with each compiled hook that a plugin implements; returns the function to call instead.
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

    def __init__(self, failures: Failures, bind: Callable[[BoundHook], CompiledHook] = lambda hook: hook.call) -> None:
        self._manager = pluggy.PluginManager(PROJECT)
        self._manager.add_hookspecs(Hooks)
        self._failures = failures
        self._bind = bind
        self._hooks: dict[str, _Hook] = {}
        self._compile()

    def register(self, plugins: Iterable[tuple[str, object]]) -> None:
        """Add plugins, each with its name; they are called in this order, before those that were added earlier.

        Raises:
            SettingsError: A plugin is registered already, or equals one that is.
        """
        for name, plugin in reversed(list(plugins)):  # pluggy calls the plugin first that was registered last
            try:
                self._manager.register(plugin, name)
            except ValueError:
                raise SettingsError(f"{name} is listed twice; list each plugin object once") from None
        self._compile()

    def drop_disabled(self) -> None:
        """Compile the hooks again if an observer was disabled since then; call this while no loop uses a hook."""
        if self._compiled_without != self._failures.disabled:
            self._compile()

    def join(self, name: str, results: HookResults | Decision) -> Decision:
        """Join what a hook has returned into one decision.

        Raises:
            LoopError: A plugin returned something other than a ``Decision`` or None.
        """
        return self._hooks[name].join(results)

    def replay(self, name: str, *values: Any) -> None:
        """Call a hook again with its arguments from before a resume; its answers were executed then."""
        if name in self._hooks:
            self._hooks[name].call(*values)

    def announce(self, run: object, result: ExecutionResult) -> None:
        """Call the hooks that report what was executed, written, and not written."""
        if self.on_checkpoint is not None:
            for checkpoint in result.committed:
                self.on_checkpoint(run, checkpoint)
        if self.on_checkpoint_error is not None:
            for path, step, error in result.failed:
                self.on_checkpoint_error(run, path, step, error)
        if self.on_decision is not None and result.done:
            self.on_decision(run, result.done)

    def call_all(
        self, name: Literal["on_exception", "on_train_end"], **values: Any
    ) -> tuple[Decision, list[Exception]]:
        """Call every plugin, even after one has raised.

        Returns:
            The decision of the plugins at the end of the training, and the errors.
        """
        hook: pluggy.HookCaller = getattr(self._manager.hook, name)
        # observers that were disabled are called at the end, too: they may have files to close
        without = () if name == "on_train_end" else self._failures.disabled
        results, errors = call_all(hook, values, self._failures, without)
        if name != "on_train_end":
            return NOTHING, errors
        decision, wrong = _join(name, _plugins_of(hook), results, self._failures)
        return decision, errors + wrong

    def _compile(self) -> None:
        self._compiled_without = disabled = set(self._failures.disabled)
        self._hooks.clear()
        for name in HOOKS:
            hook: pluggy.HookCaller = getattr(self._manager.hook, name)
            call = compile_hook(hook, self._failures)
            if call is not None:
                plugins = [each for each in _plugins_of(hook) if each[0] not in disabled]
                self._hooks[name] = _Hook(name, call, plugins, self._failures)
            setattr(self, name, None if call is None else self._bind(self._hooks[name]))


def _plugins_of(hook: pluggy.HookCaller) -> list[tuple[str, object]]:
    """Return the plugins that implement a hook, in calling order."""
    return [(each.plugin_name, each.plugin) for each in reversed(hook.get_hookimpls())]


def _join(
    hook: str, plugins: list[tuple[str, object]], results: HookResults, failures: Failures
) -> tuple[Decision, list[Exception]]:
    decisions: list[Decision] = []
    errors: list[Exception] = []
    for (name, plugin), result in zip(plugins, results, strict=True):
        if isinstance(result, Decision):
            decisions.append(result.signed(name))
        elif result is not None:
            error = LoopError(f"{name} returned {result!r} from {hook}; return a Decision or None")
            if is_observer(plugin):
                failures.record_hook_error(name, hook, error)
            else:
                errors.append(error)
    return join(decisions), errors
