"""PyTorch's profiler over some weight updates of a run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from trainbus import MissingDependency

try:
    import torch
    from torch.profiler import ProfilerActivity, profile, tensorboard_trace_handler
except ImportError as error:
    raise MissingDependency(f"TensorBoard: profile= needs PyTorch: {error}; pip install torch") from error


class TorchProfiler:
    """Writes a trace for TensorBoard's profile page, Perfetto and Chrome.

    Args:
        directory: Where the trace is written.
        first: The first weight update to profile, counted from 1 over the run.
        last: The last weight update to profile.
    """

    def __init__(self, directory: Path, first: int, last: int) -> None:
        self.directory, self.first, self.last = directory, first, last
        self._profile: Any = None

    def begin_batch(self, step: int) -> None:
        """Start the profiler if the first update is next, after ``step`` weight updates.

        Raises:
            RuntimeError: Another profiler runs, which would end with this one.
        """
        if self._profile is None and self.first <= step + 1 <= self.last:
            if getattr(torch.autograd.profiler, "_is_profiler_enabled", False):
                raise RuntimeError("PyTorch's profiler is running already, and a process has only one")
            activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if torch.cuda.is_available() else [])]
            self._profile = profile(activities=activities, record_shapes=True)
            self._profile.start()

    def end_batch(self, step: int) -> None:
        """Stop the profiler and write the trace if the last update was made, after ``step`` weight updates."""
        if step >= self.last:
            self.close()

    def close(self) -> None:
        """Stop the profiler and write the trace; a second call has no effect."""
        if self._profile is not None:
            running, self._profile = self._profile, None
            self.last = 0
            running.stop()
            tensorboard_trace_handler(str(self.directory))(running)
