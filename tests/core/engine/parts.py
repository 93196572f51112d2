"""The parts of an engine put together without a run, as far as a part needs others."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from trainbus import Callback
from trainbus.engine.executor import Executor
from trainbus.engine.rates.learning_rates import LearningRates
from trainbus.engine.run_state import RunState
from trainbus.engine.state_collector import StateCollector
from trainbus.failures import Failures


class Parts(NamedTuple):
    """The parts that execute decisions on a subject."""

    state: RunState
    failures: Failures
    collector: StateCollector
    executor: Executor


def parts_for(subject: object = None, plugins: Mapping[str, object] | None = None, *callbacks: Callback) -> Parts:
    """Make the parts for a subject, with plugins by name and those that the callbacks make."""
    made_by = {type(each).__name__: each for each in callbacks}
    listed = {**(plugins or {}), **{name: each.plugin() for name, each in made_by.items()}}
    state, failures = RunState(subject), Failures()
    collector = StateCollector(state, listed, made_by, failures)
    rates = LearningRates(state, failures.record)
    return Parts(state, failures, collector, Executor(subject, collector, rates, failures))
