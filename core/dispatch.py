"""A pluggy hook compiled to bare calls.

`pluggy` costs about a microsecond a call. Here the implementations of one hook are read once and laid out as straight
code: one call a line, each with just the arguments that it names. What comes back is what pluggy would return, with
the None of silent implementations left in so that each answer's place names its plugin.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, cast

import pluggy

__all__ = ["Answers", "CompiledHook", "call_each", "compile_hook"]

Answers = tuple[Any, ...]
"""What the implementations returned, in calling order; empty when none returned anything."""

CompiledHook = Callable[..., Answers]


def compile_hook(hook: pluggy.HookCaller) -> CompiledHook | None:
    """The hook as one function of its specified arguments, positional; None when nobody listens.

    Order, argument subsets and wrappers are pluggy's (last registered first, tryfirst, trylast). A hook with wrappers
    keeps pluggy's own call, and its answers then have no places to name plugins by.

    Whatever an implementation raises carries a note that names its plugin and the hook.
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
    lines = [f"def {hook.name}({', '.join(arguments)}):", "  try:"]
    lines += [f"    r{i} = f{i}({', '.join(each.argnames)})" for i, each in enumerate(implementations)]
    results = [f"r{i}" for i in range(len(implementations))]
    lines += [
        f"    return () if {' is '.join(results)} is None else ({', '.join(results)},)",
        "  except BaseException as error:",
        "    note(error)",
        "    raise",
    ]

    def note(error: BaseException) -> None:
        trace = error.__traceback__
        if trace is not None and 0 <= (place := trace.tb_lineno - 4) < len(implementations):
            error.add_note(f"raised in {hook.name} by the plugin {implementations[place].plugin_name!r}")

    scope: dict[str, Any] = {f"f{i}": each.function for i, each in enumerate(implementations)}
    scope["note"] = note
    maker = f"def make({', '.join(scope)}):\n" + "\n".join(f"  {line}" for line in lines) + f"\n  return {hook.name}"
    made: dict[str, Any] = {}
    exec(compile(maker, f"<trainbus hook {hook.name}>", "exec"), made)
    compiled: CompiledHook = made["make"](**scope)
    return compiled


def call_each(hook: pluggy.HookCaller, values: Mapping[str, Any]) -> tuple[Answers, list[Exception]]:
    """Call every implementation, also after one has raised: the answers in calling order, and what was raised.

    Wrappers stand round all implementations at once, so a hook with wrappers is called as pluggy does it.
    """
    implementations = hook.get_hookimpls()[::-1]
    errors: list[Exception] = []
    if any(each.wrapper or each.hookwrapper for each in implementations):
        try:
            return _as_answers(hook(**values)), errors
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


def _as_answers(result: Any) -> Answers:
    if isinstance(result, list):
        return tuple(cast("list[Any]", result))
    return () if result is None else (result,)
