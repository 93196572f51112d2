"""The parts of a run, put together."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

from ..callback import Callback, Verbose
from ..capabilities import HasLearningRate
from ..distributed.group import Group
from ..distributed.rank_group import group_for
from ..engine.bus import Bus
from ..engine.events import Events
from ..engine.executor import Executor
from ..engine.finished_run import FinishedRun
from ..engine.rates.learning_rates import LearningRates
from ..engine.resumer import Resumer
from ..engine.run_state import RunState
from ..engine.state_collector import StateCollector
from ..engine.stopping.stop_requests import StopRequests
from ..errors import SettingsError
from ..failures import ENGINE, LOG, Failures
from ..hooks import hookimpl
from ..metrics.monitor import Monitors
from ..metrics.origin import Origin
from ..resume.end_record import EndRecord, EndRecords
from ..resume.locate import check_resume, locate
from ..resume.resumption import Resumption
from ..resume.script.given_state import GivenState
from ..resume.script.hparams import hparams_of
from ..resume.script.rates import check_source
from ..resume.script.start import origin_of
from ..settings.plugin_list import CallbackLike, build_plugins
from ..settings.run_id import RunStart, run_id_of
from ..settings.subjects import check_subject
from ..storage.paths import Source
from ..storage.sharded_directory import VerificationShare


@dataclass(frozen=True, kw_only=True)
class Parts:
    """The parts of a run; ``Lifecycle`` defines the order in which they act."""

    state: RunState
    """The plain data of the run."""
    group: Group
    """The processes that decide as one."""
    failures: Failures
    callbacks: dict[str, Callback]
    """Name of a plugin to the callback that made it."""
    plugins: dict[str, object]
    """Name of each plugin to the plugin."""
    monitors: Monitors
    bus: Bus
    events: Events
    collector: StateCollector
    rates: LearningRates
    executor: Executor
    stop_requests: StopRequests
    ends: EndRecords
    resumer: Resumer
    origin: Origin
    """Where the training starts if the run is not resumed."""


def assemble(
    subject: object,
    callbacks: CallbackLike | Sequence[CallbackLike],
    *,
    verbose: Verbose | None,
    resume: Source | Mapping[str, Any] | None,
    resume_strict: bool,
    resume_learning_rates: str,
    signals: Iterable[str],
    start: Mapping[str, Any] | None = None,
    hparams: Mapping[str, Any] | None = None,
    run_id: str | None = None,
) -> Parts:
    """Return the parts of a run; ``Run`` documents the arguments and the errors."""
    check_subject(subject)
    state_given = GivenState.of(resume) if isinstance(resume, Mapping) else None
    source = check_resume(resume) if state_given is None else state_given
    check_source(resume_learning_rates)
    if not isinstance(cast("object", resume_strict), bool):
        raise SettingsError(f"resume_strict={resume_strict!r}: give True or False")
    state, origin = RunState(subject), origin_of(start)
    state.hparams, state.resume = hparams_of(hparams), None if isinstance(source, GivenState) else source
    given = run_id_of(run_id) or (None if state_given is None else state_given.run_id)
    state.run_id = given or state.run_id
    group = group_for(subject, state)
    run_start = RunStart(
        state.run_id,
        given=given is not None,
        resume=state.resume,
        world_size=group.size,
        subject=subject,
    )
    failures = Failures()
    entries = build_plugins(callbacks, subject, verbose=verbose, start=run_start)
    state.has_own_id = run_start.is_own
    made_by = {each.name: each.callback for each in entries if each.callback is not None}
    plugins = {each.name: each.plugin for each in entries if group.calls(each.plugin)}
    monitors = Monitors(state)
    bus = Bus(failures, group.bind)
    bus.register(plugins.items())
    bus.register([(ENGINE, _MonitorUpdates(monitors))])
    cutting = (name for name, each in made_by.items() if HasLearningRate in each.requires())
    report = group.bind("report", LOG.warning)
    rates = LearningRates(state, group.bind("report_undone", failures.record), cutting, report)
    events = Events(plugins, state, failures, report)
    collector = StateCollector(
        state, plugins, made_by, failures, group.size, rates.pending, rates.undone, rates.uncut, events.counts
    )
    executor = Executor(subject, collector, rates, failures)
    ends = EndRecords()
    find = partial(locate, callbacks=made_by.values(), share=VerificationShare(group.rank, group.size), subject=subject)
    match = partial(
        Resumption,
        plugins=plugins,
        callbacks=made_by,
        subject=subject,
        rates=resume_learning_rates,
        rank=group.rank,
        world_size=group.size,
    )
    resumer = Resumer(
        source,
        find,
        match,
        state,
        executor.snapshots,
        collector,
        failures,
        group.bind,
        lambda decision, record: group.execute(decision, executor, record),
        FinishedRun(
            ends, partial(EndRecord.valid_stops, plugins=plugins, callbacks=made_by), monitors.update, group.bind
        ),
        strict=resume_strict,
    )
    return Parts(
        state=state,
        group=group,
        failures=failures,
        callbacks=made_by,
        plugins=plugins,
        monitors=monitors,
        bus=bus,
        events=events,
        collector=collector,
        rates=rates,
        executor=executor,
        stop_requests=StopRequests(signals, state, group),
        ends=ends,
        resumer=resumer,
        origin=origin,
    )


class _MonitorUpdates:
    """The first listener at the end of an epoch: it updates the monitors, which the plugins read."""

    def __init__(self, monitors: Monitors) -> None:
        self._monitors = monitors

    @hookimpl(tryfirst=True)
    def on_epoch_end(self, epoch: int, metrics: Mapping[str, Any]) -> None:
        self._monitors.update(metrics, epoch)
