"""Implementations that cannot keep others from being called: what one raises is handed over."""

from __future__ import annotations

from collections.abc import Callable, Collection, Generator, Sequence
from types import SimpleNamespace
from typing import Any, TypeAlias, cast

import pluggy

__all__ = ["Report", "guarded", "guarded_call"]

Report: TypeAlias = Callable[["pluggy.HookImpl", BaseException], None]
"""Takes what an implementation raised; raises it again if it shall go on."""


def guarded_call(
    name: str, implementations: Sequence[pluggy.HookImpl], report: Report, without: Collection[str]
) -> Callable[..., Any]:
    """The implementations as pluggy itself calls them, each of which hands what it raises to `report`."""
    manager, mark = pluggy.PluginManager("guarded"), pluggy.HookimplMarker("guarded")
    for each in reversed(implementations):  # pluggy calls the last one registered first
        guard = (_wrapper if each.wrapper or each.hookwrapper else guarded)(each, report, without)
        # pluggy reads the names of the arguments from the code of the function
        arguments = ", ".join(each.argnames)
        guard = eval(f"lambda {arguments}: guard({arguments})", {"guard": guard})
        guard = mark(guard, wrapper=each.wrapper, hookwrapper=each.hookwrapper)
        manager.register(SimpleNamespace(**{name: guard}), each.plugin_name)
    call: Callable[..., Any] = getattr(manager.hook, name)
    return call


def guarded(each: pluggy.HookImpl, report: Report, without: Collection[str]) -> Callable[..., Any]:
    """One implementation, which hands what it raises to `report` and is then silent."""

    def call(*values: object) -> object:
        if each.plugin_name in without:
            return None
        try:
            return each.function(*values)
        except BaseException as error:  # noqa: BLE001 - `report` decides
            report(each, error)
            return None

    return call


def _wrapper(each: pluggy.HookImpl, report: Report, without: Collection[str]) -> Callable[..., Any]:
    def call(*values: object) -> Generator[None, Any, object]:
        if each.plugin_name in without:
            return (yield)
        try:
            wrapper = cast("Generator[None, Any, object]", each.function(*values))
            next(wrapper)
        except BaseException as error:  # noqa: BLE001 - `report` decides
            report(each, RuntimeError("the wrapper did not yield") if isinstance(error, StopIteration) else error)
            return (yield)
        result, passing = None, None
        try:
            result = yield
        except BaseException as error:  # noqa: BLE001 - it is handed on
            passing = error
        try:
            wrapper.send(result) if passing is None else wrapper.throw(passing)
            wrapper.close()
            raise RuntimeError("the wrapper yielded twice")
        except StopIteration as end:
            return end.value
        except BaseException as error:  # noqa: BLE001 - `report` decides
            if error is not passing:
                report(each, error)
        if passing is not None:
            raise passing
        return result

    return call
