"""Measure the machine while it trains: memory, use, the wait for data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from trainbus import Callback, Run, hookimpl
from trainbus.capabilities import CountsSamples, has

from .batch_times import BatchTimes
from .guard_thread import GuardThread

if TYPE_CHECKING:
    from .gpu_readings import GpuReadings
    from .process_readings import ProcessReadings

SAMPLE_SECONDS = 2.0
"""Seconds between two samples of the GPUs."""


class DeviceStats(Callback):
    """Measure in each epoch the memory and use of the process and its GPUs, the wait for data and the speed.

    The measurements are in ``run.state.stats``, in the journal, in TensorBoard and in the printed line of each epoch.
    They are no metrics: no rule can monitor them. They need ``pip install 'trainbus[monitor]'``.
    """

    def effective_settings(self, subject: object = None) -> dict[str, Any]:
        """Return no settings: none changes what a run decides."""
        return {}

    def plugin(self) -> object:
        """Return a new plugin for one run."""
        return _Measures()


class _Measures:
    """Measures this process, that of rank 0."""

    critical = False

    def __init__(self) -> None:
        self.times = BatchTimes()
        self.on_batch_begin, self.on_batch_end = self.times.on_batch_begin, self.times.on_batch_end
        self.on_epoch_begin = self.times.on_epoch_begin
        self.on_validation_begin = self.times.on_validation_begin
        self.on_validation_end = self.times.on_validation_end
        self.process: ProcessReadings | None = None
        self.gpus: GpuReadings | None = None
        self.failed = False

    @hookimpl
    def on_train_begin(self, run: Run) -> None:
        # each imports its library
        from .gpu_readings import GpuReadings  # noqa: PLC0415
        from .process_readings import ProcessReadings  # noqa: PLC0415

        self.run, self.process, self.gpus = run, ProcessReadings(), GpuReadings()
        if has(run.subject, CountsSamples):
            self.times.count = run.subject.samples
        run.add_stats(self.read)
        thread = GuardThread("trainbus-device-stats", self.sample)
        run.at_end(thread.close)

    def sample(self) -> float | None:
        """Take a sample of the GPUs; return the seconds until the next one."""
        if self.gpus is None or not self.gpus.devices:
            return None
        self.gpus.sample()
        return SAMPLE_SECONDS

    def read(self) -> Mapping[str, float]:
        """Return the measurements of the epoch; report once that they fail."""
        if self.process is None or self.gpus is None or self.failed:
            return {}
        try:
            return {**self.process.read(), **self.gpus.read(), **self.times.read(self.run)}
        except Exception as error:  # noqa: BLE001 - measurements never end a run
            self.failed = True
            self.run.report_failure(self, "no measurements", error)
            return {}
