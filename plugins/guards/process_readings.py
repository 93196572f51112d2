"""Memory and processor time of this process, read by psutil."""

from __future__ import annotations

from collections.abc import Mapping

from trainbus import MissingDependency

try:
    import psutil
except ImportError as error:
    raise MissingDependency(f"{error}: DeviceStats needs it: pip install 'trainbus[monitor]'") from None

GB = 1e9


class ProcessReadings:
    """Readings of this process since the last call."""

    def __init__(self) -> None:
        self._process = psutil.Process()
        self._process.cpu_percent()

    def read(self) -> Mapping[str, float]:
        """Return the resident memory in gigabytes, and the use of processors in percent: 100 is one processor."""
        with self._process.oneshot():
            return {
                "process_memory_gb": self._process.memory_info().rss / GB,
                "process_cpu_percent": self._process.cpu_percent(),
            }
