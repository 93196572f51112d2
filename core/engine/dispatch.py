"""Compile a pluggy hook to direct calls.

A call through pluggy costs about a microsecond. A compiled hook is one function with one line for each implementation,
which passes only the arguments that the implementation names. If all of them return None, so does the function;
otherwise it joins the results, in which each None is kept, so that the index of a result names its plugin.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from functools import lru_cache, partial
from types import CodeType
from typing import Any, TypeVar

import pluggy

from ..decision import Decision
from ..failures import Failures, add_plugin_note, is_observer

HookResults = tuple[Any, ...]
"""The results of the implementations, in calling order."""

CompiledHook = Callable[..., Decision | None]
"""Takes the hook's arguments by position; returns the joint decision, None if every implementation returned None."""

T = TypeVar("T")


def compile_hook(
    hook: pluggy.HookCaller, failures: Failures, join: Callable[[HookResults], T]
) -> Callable[..., T | None] | None:
    """Compile a hook to one function.

    The order of the calls and the arguments of each are pluggy's (last registered first, tryfirst, trylast). An error
    that an implementation raises gets a note that names its plugin and the hook.

    Args:
        hook: pluggy's hook with its implementations.
        failures: Records what observers raise; the other plugins are then called as if the observer had returned
            None. Disabled observers are not called, even by functions that were compiled earlier.
        join: Called with the results, unless all of them are None; the compiled function returns its result.

    Returns:
        The function; None if no plugin implements the hook.
    """
    implementations = [each for each in hook.get_hookimpls()[::-1] if each.plugin_name not in failures.disabled]
    if not implementations:
        return None
    spec = hook.spec
    assert spec is not None  # plugins are checked against the specification before they are registered
    lines = [f"def {hook.name}({', '.join(spec.argnames)}):", "  try:"]
    first = len(lines) + 1
    # The generated code has no handler around each call: that would cost every batch. Each call has its own lines
    # instead, and the line number in the traceback of an error names the plugin that raised it.
    owners: list[int] = []
    for i, each in enumerate(implementations):
        call = f"r{i} = f{i}({', '.join(each.argnames)})"
        if is_observer(each.plugin):  # entering a try block costs nothing
            lines += [f"    try: {call}", f"    except Exception as raised: r{i} = record({i}, raised)"]
        else:
            lines += [f"    {call}"]
        owners += [i] * (len(lines) - first + 1 - len(owners))
    results = [f"r{i}" for i in range(len(implementations))]
    lines += [
        f"    return None if {' is None and '.join(results)} is None else join(({', '.join(results)},))",
        "  except BaseException as error:",
        "    add_note(error)",
        "    raise",
    ]

    def add_note(error: BaseException) -> None:
        trace = error.__traceback__
        if trace is not None and 0 <= (index := trace.tb_lineno - first) < len(owners):
            add_plugin_note(error, hook.name, implementations[owners[index]].plugin_name)

    def record(index: int, error: Exception) -> None:
        failures.record_hook_error(implementations[index].plugin_name, hook.name, error)

    # The implementations are globals of the generated function, which Python finds faster than variables of a closure.
    scope: dict[str, Any] = {f"f{i}": each.function for i, each in enumerate(implementations)}
    scope |= {"add_note": add_note, "record": record, "join": join}
    exec(_code("\n".join(lines), f"<trainbus hook {hook.name}>"), scope)
    for i, each in enumerate(implementations):
        if is_observer(each.plugin):
            # A loop may use the function until the end of its epoch.
            failures.on_disabled(each.plugin_name, partial(scope.__setitem__, f"f{i}", _disabled))
    compiled: Callable[..., T | None] = scope[hook.name]
    return compiled


@lru_cache(maxsize=64)
def _code(text: str, name: str) -> CodeType:
    """Compile a function; runs with the same callbacks share it."""
    return compile(text, name, "exec")


def call_all(
    hook: pluggy.HookCaller,
    values: Mapping[str, Any],
    failures: Failures,
    without: Collection[str] = (),
    check: Callable[[str, object], object] = lambda _, result: result,
) -> tuple[HookResults, list[Exception]]:
    """Call every implementation, even after one has raised.

    Args:
        hook: pluggy's hook with its implementations.
        values: The hook's arguments by name.
        failures: Records what observers raise.
        without: Names of plugins to skip.
        check: Called with the name of each plugin and its result; an error that it raises counts as the plugin's.

    Returns:
        The results in calling order, None for an implementation that raised or was not called; and what was raised.
    """
    errors: list[Exception] = []

    def call(each: pluggy.HookImpl) -> object:
        try:
            result = each.function(*(values[name] for name in each.argnames))
            check(each.plugin_name, result)
        except BaseException as error:
            if isinstance(error, Exception) and is_observer(each.plugin):
                failures.record_hook_error(each.plugin_name, hook.name, error)
                return None
            add_plugin_note(error, hook.name, each.plugin_name)
            if not isinstance(error, Exception):
                raise
            errors.append(error)
            return None
        return result

    results = [None if each.plugin_name in without else call(each) for each in hook.get_hookimpls()[::-1]]
    return tuple(results), errors


def _disabled(*_: object) -> None:
    """Do nothing; replaces a disabled observer."""
