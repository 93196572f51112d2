"""Send events to plugins, and join their decisions into one."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from functools import partial
from types import NoneType
from typing import Any

import pluggy

from ..decision import NOTHING, Decision, join
from ..errors import LoopError, SettingsError
from ..failures import Failures, is_observer
from ..hooks import HOOKS, PROJECT, Hooks
from .dispatch import CompiledHook, HookResults, call_all, compile_hook
from .execution_result import ExecutionResult
from .refused_saves import RefusesSaves, without_refused_saves

ANSWERS_IGNORED = frozenset({"on_decision", "on_checkpoint", "on_checkpoint_error"})
"""Hooks that only report; their return values have no effect."""


class Bus:
    """The plugins of one run, and the compiled hooks that call them.

    Each hook is an attribute with its name: a function that calls the plugins and returns their joint decision. It is
    None if no plugin implements the hook. It raises ``LoopError`` if a plugin that decides returns anything but a
    ``Decision``.

    Args:
        failures: Records what observers raise.
        bind: Called with the name of each hook at which a plugin decides, and the compiled hook; returns the function
            to call instead.
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

    def __init__(
        self, failures: Failures, bind: Callable[[str, CompiledHook], CompiledHook] = lambda _, hook: hook
    ) -> None:
        self._manager = pluggy.PluginManager(PROJECT)
        self._manager.add_hookspecs(Hooks)
        self._failures = failures
        self._bind = bind
        self._hooks: dict[str, CompiledHook] = {}
        self._refusers: list[tuple[str, object]] = []
        """The plugins that can refuse saves, with their names."""
        self._compile()

    def register(self, plugins: Iterable[tuple[str, object]]) -> None:
        """Add plugins by name; they are called in this order, before the plugins that were added earlier.

        Raises:
            SettingsError: A plugin, or one that equals it, is already registered.
        """
        for name, plugin in reversed(list(plugins)):  # pluggy calls the plugin first that was registered last
            try:
                self._manager.register(plugin, name)
            except ValueError:
                raise SettingsError(f"{name} is listed twice; list each plugin object once") from None
            if isinstance(plugin, RefusesSaves):
                self._refusers.append((name, plugin))
        self._compile()

    def drop_disabled(self) -> None:
        """Compile the hooks again if an observer was disabled since then; call this while no loop uses a hook."""
        if self._compiled_without != self._failures.disabled:
            self._compile()

    def replay(self, name: str, *values: Any) -> None:
        """Call a hook again with its arguments from before a resume; its decisions were already executed."""
        if name in self._hooks:
            self._hooks[name](*values)

    def allowed(self, decision: Decision) -> Decision:
        """Return a decision of the loop without the saves that a plugin refuses."""
        return without_refused_saves(decision, self._refusers)

    def announce(self, run: object, result: ExecutionResult) -> None:
        """Call the hooks that report executed decisions, written files and failed saves."""
        if self.on_checkpoint is not None:
            for checkpoint in result.committed:
                self.on_checkpoint(run, checkpoint)
        if self.on_checkpoint_error is not None:
            for path, step, error in result.failed:
                self.on_checkpoint_error(run, path, step, error)
        if self.on_decision is not None and result.done:
            self.on_decision(run, result.done)

    def end(self, run: object, error: BaseException | None) -> tuple[Decision, list[Exception]]:
        """Call ``on_exception`` if an error ended the run, then ``on_train_end``.

        Every plugin is called, even after one has raised.

        Args:
            run: The run that hooks receive.
            error: What ended the run.

        Returns:
            The decision of the plugins at the end of the training, and the errors.
        """
        decision, errors = NOTHING, list[Exception]()
        if error is not None:
            decision, errors = self._call_all("on_exception", {"run": run, "error": error}, self._failures.disabled)
        # observers that were disabled are called at the end, too: they may have files to close
        last, raised = self._call_all("on_train_end", {"run": run})
        return decision | last, errors + raised

    def fail(self, run: object, error: Exception, decision: Decision) -> tuple[Decision, list[Exception]]:
        """Call ``on_exception`` of the plugins that decide about an error that was raised after ``end`` had begun.

        Observers have closed their files by then.

        Returns:
            Their decision and the given one, and the errors.
        """
        hook = "on_exception"
        observers = [name for name, plugin in _plugins_of(getattr(self._manager.hook, hook)) if is_observer(plugin)]
        more, errors = self._call_all(hook, {"run": run, "error": error}, observers)
        return decision | more, errors

    def _call_all(
        self, name: str, values: Mapping[str, Any], without: Collection[str] = ()
    ) -> tuple[Decision, list[Exception]]:
        hook: pluggy.HookCaller = getattr(self._manager.hook, name)
        results, errors = call_all(hook, values, self._failures, without, check=partial(_check, name))
        return without_refused_saves(_joined(_plugins_of(hook), results), self._refusers), errors

    def _compile(self) -> None:
        self._compiled_without = disabled = set(self._failures.disabled)
        self._hooks.clear()
        for name in HOOKS:
            hook: pluggy.HookCaller = getattr(self._manager.hook, name)
            plugins = [each for each in _plugins_of(hook) if each[0] not in disabled]
            join = _ignore if name in ANSWERS_IGNORED else partial(_join, name, plugins, self._failures, self._refusers)
            call = compile_hook(hook, self._failures, join)
            if call is not None:
                self._hooks[name] = call
                if not all(is_observer(plugin) for _, plugin in plugins):
                    call = self._bind(name, call)
            setattr(self, name, call)


def _plugins_of(hook: pluggy.HookCaller) -> list[tuple[str, object]]:
    """Return the plugins that implement a hook, in calling order."""
    return [(each.plugin_name, each.plugin) for each in reversed(hook.get_hookimpls())]


def _ignore(_: HookResults) -> None:
    """Return no decision; replaces the function that joins the results."""


def _join(
    hook: str,
    plugins: list[tuple[str, object]],
    failures: Failures,
    refusers: list[tuple[str, object]],
    results: HookResults,
) -> Decision:
    """Return the union of the decisions, without refused saves; report a result of an observer that is no decision.

    Raises:
        LoopError: A critical plugin returned something else.
    """
    for (name, plugin), result in zip(plugins, results, strict=True):
        try:
            _check(hook, name, result)
        except LoopError as error:
            if not is_observer(plugin):
                raise
            failures.record_hook_error(name, hook, error)
    return without_refused_saves(_joined(plugins, results), refusers)


def _check(hook: str, plugin: str, result: object) -> None:
    """Raise ``LoopError`` if a plugin's result is neither a decision nor None."""
    if not isinstance(result, (Decision, NoneType)):
        raise LoopError(f"{plugin} returned {result!r} from {hook}; return a Decision or None")


def _joined(plugins: list[tuple[str, object]], results: HookResults) -> Decision:
    """Return the union of the decisions; each action names its plugin."""
    answers = zip(plugins, results, strict=True)
    return join([result.signed(name) for (name, _), result in answers if isinstance(result, Decision)])
