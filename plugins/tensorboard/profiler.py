"""PyTorch's profiler over some weight updates of a run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainbus import MissingDependency, Run, hookimpl

if TYPE_CHECKING:
    from .writer.event_writer import Note

try:
    import torch
    from torch.profiler import ProfilerActivity, profile, tensorboard_trace_handler
except ImportError as error:
    raise MissingDependency(f"TensorBoard: profile= needs PyTorch: {error}; pip install torch") from error


class ProfilingRecorder:
    """Runs PyTorch's profiler over some weight updates; if that fails, continues without a profile.

    It writes a trace for TensorBoard's profile page, Perfetto and Chrome.

    Args:
        updates: The first and the last weight update, counted from 1 over the run, such as "10:15".
    """

    directory: Path
    note: Note

    def __init__(self, updates: str) -> None:
        self.first, self.last = map(int, updates.split(":"))
        self._profile: Any = None

    def begin(self, directory: Path, note: Note) -> None:
        """Prepare for the run.

        Args:
            directory: Where the trace is written.
            note: Reports a failure.
        """
        self.directory, self.note = directory, note

    @hookimpl
    def on_batch_begin(self, run: Run) -> None:
        """Start the profiler if the first update is next."""
        if self._profile is None and self.first <= run.step + 1 <= self.last:
            self._try(self._start)

    @hookimpl(specname="on_batch_end")
    def end_profiled_batch(self, step: int) -> None:
        """Stop the profiler and write the trace if the last update was made."""
        if step >= self.last:
            self.close()

    def close(self) -> None:
        """Stop the profiler and write the trace; a second call has no effect."""
        if self._profile is not None:
            self._try(self._stop)

    def _start(self) -> None:
        if getattr(torch.autograd.profiler, "_is_profiler_enabled", False):  # it would end with this one
            raise RuntimeError("PyTorch's profiler is running already, and a process has only one")
        activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if torch.cuda.is_available() else [])]
        self._profile = profile(activities=activities, record_shapes=True)
        self._profile.start()

    def _stop(self) -> None:
        running, self._profile, self.last = self._profile, None, 0
        running.stop()
        tensorboard_trace_handler(str(self.directory))(running)

    def _try(self, action: Callable[[], None]) -> None:
        try:
            action()
        except Exception as error:  # noqa: BLE001 - a failed profile must not end the training
            self._profile, self.last = None, 0
            self.note("no profile", error)
