"""The readings of the process are those of the kernel."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

psutil = pytest.importorskip("psutil")

from trainbus.plugins.guards.process_readings import ProcessReadings  # noqa: E402 - psutil may be missing


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads /proc")
@pytest.mark.parametrize("megabytes", [0, 1, 30, 60, 120])
def test_the_memory_is_that_of_the_kernel(megabytes: int) -> None:
    held = bytearray(os.urandom(1)) * (megabytes * 1_000_000)
    found = ProcessReadings().read()["process_memory_gb"]
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    del held

    assert found == pytest.approx(pages * os.sysconf("SC_PAGE_SIZE") / 1e9, rel=0.05)


def test_a_process_that_computes_uses_a_processor_and_one_that_waits_does_not() -> None:
    """Against the processor time that Python itself measures."""
    readings = ProcessReadings()
    began, used = time.perf_counter(), time.process_time()
    while time.process_time() < used + 0.2:
        pass
    found = readings.read()["process_cpu_percent"]
    expected = 100 * (time.process_time() - used) / (time.perf_counter() - began)

    assert found == pytest.approx(expected, rel=0.35)


@pytest.mark.parametrize("library", ["psutil", "pynvml"])
@pytest.mark.exhaustive
def test_a_library_that_is_missing_is_named_before_the_training(library: str) -> None:
    script = (
        f"import sys; sys.modules[{library!r}] = None\n"
        "import trainbus\n"
        "from trainbus.plugins import DeviceStats\n"
        "try:\n"
        "    with trainbus.Run(callbacks=DeviceStats()) as run: print('begun')\n"
        "except trainbus.MissingDependency as error: print(error)\n"
    )
    printed = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout

    assert "begun" not in printed
    assert "DeviceStats needs it: pip install 'trainbus[monitor]'" in printed
