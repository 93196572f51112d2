"""The readings of the visible GPUs: none without a driver, the peak and the mean of the samples with one."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

pynvml = pytest.importorskip("pynvml")

from trainbus.plugins.guards.gpu_readings import GpuReadings  # noqa: E402 - pynvml may be missing


def has_driver() -> bool:
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return False
    return True


@pytest.mark.skipif(has_driver(), reason="the machine has a GPU")
def test_a_machine_without_a_driver_has_no_gpu() -> None:
    """The library itself raises that its driver is not there."""
    readings = GpuReadings()
    readings.sample()

    assert (readings.devices, dict(readings.read())) == ([], {})


@pytest.mark.skipif(not has_driver(), reason="needs a driver of NVIDIA")
def test_the_memory_is_that_of_the_driver() -> None:
    found = GpuReadings().read()

    assert found["gpu0_memory_gb"] > 0
    assert 0 <= found["gpu0_percent"] <= 100


class Driver:
    """The functions of the library, with four GPUs whose use increases with each sample."""

    NVMLError = pynvml.NVMLError

    def __init__(self, silent: tuple[str, ...] = ()) -> None:
        self.samples, self.silent = 0, silent

    def nvmlInit(self) -> None: ...  # noqa: N802 - the library's names

    def nvmlDeviceGetCount(self) -> int:  # noqa: N802
        return 4

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:  # noqa: N802
        return index

    def nvmlDeviceGetHandleByUUID(self, uuid: str) -> int:  # noqa: N802
        return int(uuid[-1])

    def nvmlDeviceGetMemoryInfo(self, handle: int) -> Any:  # noqa: N802
        if "memory" in self.silent:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)
        self.samples += 1
        return SimpleNamespace(used=(handle + 1) * 1e9 / self.samples)

    def nvmlDeviceGetUtilizationRates(self, handle: int) -> Any:  # noqa: N802
        if "use" in self.silent:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)
        return SimpleNamespace(gpu=10 * self.samples)


@pytest.mark.parametrize(
    ("visible", "handles"),
    [
        (None, [0, 1, 2, 3]),
        ("0", [0]),
        ("2,1", [2, 1]),
        (" 3 , 0 ", [3, 0]),
        ("GPU-aaaa-2", [2]),
        ("1,-1,2", [1]),
        ("", []),
        ("-1", []),
    ],
)
def test_only_visible_gpus_are_read_in_the_order_of_cuda(
    visible: str | None, handles: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)

    assert GpuReadings(Driver()).devices == [(f"gpu{number}", each) for number, each in enumerate(handles)]


def test_the_peak_of_the_memory_and_the_mean_of_the_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    readings = GpuReadings(Driver())
    readings.sample()

    assert readings.read() == {"gpu0_memory_gb": 2.0, "gpu0_percent": 15.0}
    assert readings.read()["gpu0_percent"] == 30.0


@pytest.mark.parametrize("silent", [("memory",), ("use",), ("memory", "use")])
def test_what_a_gpu_does_not_tell_is_left_out(silent: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    found = GpuReadings(Driver(silent)).read()

    assert [("memory" in name, "percent" in name) for name in found] == [
        each for each, what in (((True, False), "memory"), ((False, True), "use")) if what not in silent
    ]
