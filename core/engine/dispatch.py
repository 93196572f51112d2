"""A pluggy hook compiled to bare calls.

`pluggy` costs about a microsecond a call. Here the implementations of one hook are read once and laid out as straight
code: one call a line, each with just the arguments that it names. What comes back is what pluggy would return, with
the None of silent implementations left in so that each answer's place names its plugin.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, cast

import pluggy

from ..failures import Failures, add_plugin_note, is_observer
from .guards import guarded, guarded_call

__all__ = ["CompiledHook", "HookResults", "call_all", "compile_hook"]

HookResults = tuple[Any, ...]
"""What the implementations returned, in calling order."""

CompiledHook = Callable[..., HookResults | None]
"""Takes the hook's specified arguments by position; returns None where every implementation was silent."""


def compile_hook(hook: pluggy.HookCaller, failures: Failures | None = None) -> CompiledHook | None:
    """The hook as one function; None when nobody listens.

    Order, argument subsets and wrappers are pluggy's (last registered first, tryfirst, trylast). Whatever an
    implementation raises carries a note that names its plugin and the hook.

    A hook with wrappers keeps pluggy's own call: its answers have no places to name plugins by.

    Args:
        hook: pluggy's hook with its implementations.
        failures: takes what observers raise, which then passes for silence; those switched off are left out, from
            functions compiled before as well. None where nobody is a mere observer.
    """
    failures = failures or Failures()
    implementations = [each for each in hook.get_hookimpls()[::-1] if each.plugin_name not in failures.disabled]
    if not implementations:
        return None
    spec = hook.spec
    assert spec is not None  # the bus refuses hooks that no specification names
    arguments = spec.argnames
    if spec.opts.get("firstresult"):
        return lambda *values: _as_answers(hook(**dict(zip(arguments, values, strict=True))))
    if _has_wrappers(implementations):

        def report(each: pluggy.HookImpl, error: BaseException) -> None:
            if is_observer(each.plugin) and isinstance(error, Exception):
                failures.record_hook_error(each.plugin_name, hook.name, error)
            else:
                add_plugin_note(error, hook.name, each.plugin_name)
                raise error

        call = guarded_call(hook.name, implementations, report, failures.disabled)
        return lambda *values: _as_answers(call(**dict(zip(arguments, values, strict=True))))

    lines = [f"def {hook.name}({', '.join(arguments)}):", "  try:"]
    first = len(lines) + 1
    owners: list[int] = []  # of each line, so that the line on which an error passed tells whose call it was
    for i, each in enumerate(implementations):
        call_line = f"r{i} = f{i}({', '.join(each.argnames)})"
        if is_observer(each.plugin):  # costs nothing while nothing is raised
            lines += [f"    try: {call_line}", f"    except Exception as raised: r{i} = failed({i}, raised)"]
        else:
            lines += [f"    {call_line}"]
        owners += [i] * (len(lines) - first + 1 - len(owners))
    results = [f"r{i}" for i in range(len(implementations))]
    lines += [
        f"    return None if {' is None and '.join(results)} is None else ({', '.join(results)},)",
        "  except BaseException as error:",
        "    note(error)",
        "    raise",
    ]

    def note(error: BaseException) -> None:
        trace = error.__traceback__
        if trace is not None and 0 <= (place := trace.tb_lineno - first) < len(owners):
            add_plugin_note(error, hook.name, implementations[owners[place]].plugin_name)

    def failed(place: int, error: Exception) -> None:
        failures.record_hook_error(implementations[place].plugin_name, hook.name, error)

    # the calls are the function's globals: Python finds those faster than what a closure holds
    scope: dict[str, Any] = {f"f{i}": each.function for i, each in enumerate(implementations)}
    scope |= {"note": note, "failed": failed}
    exec(compile("\n".join(lines), f"<trainbus hook {hook.name}>", "exec"), scope)
    for i, each in enumerate(implementations):
        if is_observer(each.plugin):
            # a loop may hold the function for the rest of its epoch
            failures.on_disabled(each.plugin_name, partial(scope.__setitem__, f"f{i}", _silent))
    compiled: CompiledHook = scope[hook.name]
    return compiled


def call_all(
    hook: pluggy.HookCaller, values: Mapping[str, Any], failures: Failures | None = None, without: Collection[str] = ()
) -> tuple[HookResults, list[Exception]]:
    """Call every implementation, also after one has raised: the answers in calling order, and what was raised.

    Wrappers see the answers alone; one that raises passes for one that is not there.

    Args:
        hook: pluggy's hook with its implementations.
        values: the hook's arguments.
        failures: takes what observers raise.
        without: names of plugins that are not called.
    """
    failures = failures or Failures()
    errors: list[Exception] = []

    def report(each: pluggy.HookImpl, error: BaseException) -> None:
        if not isinstance(error, Exception):
            add_plugin_note(error, hook.name, each.plugin_name)
            raise error
        if is_observer(each.plugin):
            failures.record_hook_error(each.plugin_name, hook.name, error)
        else:
            add_plugin_note(error, hook.name, each.plugin_name)
            errors.append(error)

    implementations = hook.get_hookimpls()[::-1]
    if _has_wrappers(implementations):
        try:
            return _as_answers(guarded_call(hook.name, implementations, report, without)(**values)) or (), errors
        except Exception as error:  # noqa: BLE001 - an old-style wrapper's; it is handed on
            return (), [*errors, error]
    answers = [guarded(each, report, without)(*(values[name] for name in each.argnames)) for each in implementations]
    return tuple(answers), errors


def _has_wrappers(implementations: Iterable[pluggy.HookImpl]) -> bool:
    return any(each.wrapper or each.hookwrapper for each in implementations)


def _silent(*_: object) -> None:
    """A plugin that is switched off."""


def _as_answers(result: Any) -> HookResults | None:
    """What pluggy's own call returned: a list without any None, unless a wrapper put something else in its place."""
    if not isinstance(result, list):
        return None if result is None else (result,)
    return tuple(cast("Sequence[Any]", result)) or None
