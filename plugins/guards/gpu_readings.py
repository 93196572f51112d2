"""Memory and use of the GPUs that this process sees, read by NVIDIA's management library."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from trainbus import MissingDependency

try:
    import pynvml
except ImportError as error:
    raise MissingDependency(f"{error}: DeviceStats needs it: pip install 'trainbus[monitor]'") from None

GB = 1e9


class GpuReadings:
    """Readings of the visible GPUs; a machine without a driver of NVIDIA has none."""

    def __init__(self, nvml: Any = pynvml) -> None:
        self._nvml = nvml
        self.devices: list[tuple[str, Any]] = []
        """Each GPU, with its name."""
        self._samples: dict[str, list[float]] = {}
        with suppress(nvml.NVMLError):  # no driver, no GPU
            nvml.nvmlInit()
            self.devices = [(f"gpu{number}", self._handle(each)) for number, each in enumerate(self._visible())]

    def _visible(self) -> list[str]:
        """Return the indices or the identifiers of the GPUs that CUDA shows to this process."""
        given = os.environ.get("CUDA_VISIBLE_DEVICES")
        if given is None:
            return [str(index) for index in range(self._nvml.nvmlDeviceGetCount())]
        listed: list[str] = []
        for each in (part.strip() for part in given.split(",")):
            if each in ("", "-1"):  # CUDA ignores what follows
                break
            listed.append(each)
        return listed

    def _handle(self, device: str) -> Any:
        if device.isdecimal():
            return self._nvml.nvmlDeviceGetHandleByIndex(int(device))
        return self._nvml.nvmlDeviceGetHandleByUUID(device)

    def sample(self) -> None:
        """Take a sample of each GPU: its use changes from second to second."""
        for name, handle in self.devices:
            with suppress(self._nvml.NVMLError):  # some GPUs do not tell one of them
                memory = self._nvml.nvmlDeviceGetMemoryInfo(handle).used / GB
                self._samples.setdefault(f"{name}_memory_gb", []).append(memory)
            with suppress(self._nvml.NVMLError):
                used = float(self._nvml.nvmlDeviceGetUtilizationRates(handle).gpu)
                self._samples.setdefault(f"{name}_percent", []).append(used)

    def read(self) -> Mapping[str, float]:
        """Return the most memory in gigabytes and the mean use in percent of the samples since the last call."""
        self.sample()
        samples, self._samples = self._samples, {}
        return {
            name: max(values) if name.endswith("_gb") else sum(values) / len(values) for name, values in samples.items()
        }
