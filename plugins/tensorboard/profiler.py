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


class TorchProfile:
    """Writes a trace, which TensorBoard's profile page, Perfetto and Chrome show.

    Args:
        directory: where the trace goes.
        first: the first weight update, counted from 1 over the whole run.
        last: the last one, which is profiled too.
    """

    def __init__(self, directory: Path, first: int, last: int) -> None:
        self.directory, self.first, self.last = directory, first, last
        self._profile: Any = None

    def before(self, step: int) -> None:
        """A batch begins, after that many weight updates.

        Raises:
            RuntimeError: another profile is taken, which would end with this one.
        """
        if self._profile is None and self.first <= step + 1 <= self.last:
            if getattr(torch.autograd.profiler, "_is_profiler_enabled", False):
                raise RuntimeError("PyTorch's profiler is running already, and a process has only one")
            activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if torch.cuda.is_available() else [])]
            self._profile = profile(activities=activities, record_shapes=True)
            self._profile.start()

    def after(self, step: int) -> None:
        """A batch is over, with that many weight updates made."""
        if self._profile is not None and step >= self.last:
            self.close()

    def close(self) -> None:
        """Write what was profiled; may be called again, without effect."""
        if self._profile is not None:
            running, self._profile = self._profile, None
            self.last = 0
            running.stop()
            tensorboard_trace_handler(str(self.directory))(running)
