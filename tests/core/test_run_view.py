"""A run is what its plugins are promised: it has every member of the protocols that they read."""

import inspect
from typing import Any

import pytest
from typing_extensions import get_protocol_members

from trainbus import Run
from trainbus.engine.run_state import RunState
from trainbus.run_view import RunStateView, RunView


def members(protocol: type) -> list[str]:
    return sorted(get_protocol_members(protocol))


CASES = [
    *((RunView, Run(verbose=0), name) for name in members(RunView)),
    *((RunStateView, RunState(), name) for name in members(RunStateView)),
]


@pytest.mark.parametrize(("protocol", "found", "name"), CASES, ids=lambda each: each if isinstance(each, str) else "")
def test_a_run_has_every_member_that_a_plugin_may_read(protocol: type, found: Any, name: str) -> None:
    """Also before it begins; a method takes the arguments that the protocol declares."""
    declared = inspect.getattr_static(protocol, name)
    value = getattr(found, name)

    if isinstance(declared, property):
        assert not inspect.ismethod(value)
    else:
        wanted = list(inspect.signature(declared).parameters.values())[1:]
        given = list(inspect.signature(value).parameters.values())
        assert [(each.name, each.kind, each.default) for each in given] == [
            (each.name, each.kind, each.default) for each in wanted
        ]


def test_the_state_of_a_run_is_the_one_that_plugins_read() -> None:
    """``run.state`` is the ``RunState`` itself, and the run's own members read from it."""
    with Run(verbose=0) as run:
        for _ in run.epochs(2):
            for _ in run.batches("ab"):
                run.log(loss=1.0)

    assert type(run.state) is RunState
    for name in ("epoch", "batch", "step", "metrics", "resumed", "error"):
        assert getattr(run, name) == getattr(run.state, name)
    assert (run.epoch, run.batch, run.step, run.metrics) == (1, 1, 4, {"loss": 1.0})
