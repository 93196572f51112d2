"""A pluggy hook compiled to bare calls.

`pluggy` costs about a microsecond a call. Here the implementations of one hook are read once and laid out as straight
code: one call a line, each with just the arguments that it names. What comes back is what pluggy would return, with
the None of silent implementations left in so that each answer's place names its plugin.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import pluggy

__all__ = ["Answers", "CompiledHook", "call_each", "compile_hook"]

Answers = tuple[Any, ...]
"""What the implementations returned, in calling order."""

CompiledHook = Callable[..., Answers | None]
"""Takes the hook's specified arguments by position; returns None where every implementation was silent."""


def compile_hook(hook: pluggy.HookCaller) -> CompiledHook | None:
    """The hook as one function; None when nobody listens.

    Order, argument subsets and wrappers are pluggy's (last registered first, tryfirst, trylast). Whatever an
    implementation raises carries a note that names its plugin and the hook.

    A hook with wrappers keeps pluggy's own call: its answers have no places to name plugins by, its errors no note.
    """
    implementations = hook.get_hookimpls()[::-1]
    if not implementations:
        return None
    spec = hook.spec
    assert spec is not None  # the bus refuses hooks that no specification names
    arguments = spec.argnames
    if any(each.wrapper or each.hookwrapper for each in implementations) or spec.opts.get("firstresult"):
        return lambda *values: _as_answers(hook(**dict(zip(arguments, values, strict=True))))

    # one line a call, so that the line on which an error passed tells whose call it was
    results = [f"r{i}" for i in range(len(implementations))]
    lines = [f"def {hook.name}({', '.join(arguments)}):", "  try:"]
    first = len(lines) + 1
    lines += [f"    r{i} = f{i}({', '.join(each.argnames)})" for i, each in enumerate(implementations)]
    lines += [
        f"    return None if {' is None and '.join(results)} is None else ({', '.join(results)},)",
        "  except BaseException as error:",
        "    note(error)",
        "    raise",
    ]

    def note(error: BaseException) -> None:
        trace = error.__traceback__
        if trace is not None and 0 <= (place := trace.tb_lineno - first) < len(implementations):
            error.add_note(f"raised in {hook.name} by the plugin {implementations[place].plugin_name!r}")

    # the calls are the function's globals: Python finds those faster than what a closure holds
    scope: dict[str, Any] = {f"f{i}": each.function for i, each in enumerate(implementations)}
    scope["note"] = note
    exec(compile("\n".join(lines), f"<trainbus hook {hook.name}>", "exec"), scope)
    compiled: CompiledHook = scope[hook.name]
    return compiled


def call_each(hook: pluggy.HookCaller, values: Mapping[str, Any]) -> tuple[Answers, list[Exception]]:
    """Call every implementation, also after one has raised: the answers in calling order, and what was raised.

    Wrappers stand round all implementations at once, so a hook with wrappers is called as pluggy does it.
    """
    implementations = hook.get_hookimpls()[::-1]
    errors: list[Exception] = []
    if any(each.wrapper or each.hookwrapper for each in implementations):
        try:
            return _as_answers(hook(**values)) or (), errors
        except Exception as error:  # noqa: BLE001 - it is handed on
            return (), [error]
    answers: list[Any] = []
    for each in implementations:
        try:
            answers.append(each.function(*(values[name] for name in each.argnames)))
        except Exception as error:  # noqa: BLE001 - it is handed on
            error.add_note(f"raised in {hook.name} by the plugin {each.plugin_name!r}")
            errors.append(error)
            answers.append(None)
    return tuple(answers), errors


def _as_answers(result: Any) -> Answers | None:
    """What pluggy's own call returned: a list without any None, unless a wrapper put something else in its place."""
    if not isinstance(result, list):
        return None if result is None else (result,)
    return tuple(cast("Sequence[Any]", result)) or None
