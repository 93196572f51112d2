"""Jobs of several real processes, each bounded in time: a job that hangs is killed, all ranks, and fails its test."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from .ranks import ROOT, ForkedRank

LIMIT = 120.0
"""Seconds after which a job counts as hung: many times the duration of any job."""


class Ended(NamedTuple):
    """A job that is over."""

    codes: list[int]
    """Exit code of each rank, negative for a signal; only torchrun's, if it started the ranks."""
    reports: list[Any]
    """The report of each rank; None for one without a report."""
    errors: str


def job(
    folder: Path, size: int, module: str, *words: str, stopped: int | None = None, forked: bool = False, **more: str
) -> Ended:
    """Run ``python -m module folder words...`` in ``size`` processes, and collect their reports.

    Args:
        folder: Directory that the job may write to.
        size: Number of ranks.
        module: Module that takes the folder as its first argument and calls ``report``.
        words: More arguments.
        stopped: A rank that does not end; it is killed once all others have ended.
        forked: Whether the ranks are forked from a process that has imported the module, which is faster. Then the
            module imports no library that has threads, and all ranks iterate over their sets in the same order.
        more: Environment variables.
    """
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    environment = {**os.environ, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": str(size), **more}
    own = [({**environment, "RANK": str(rank)}, folder / f"errors-{rank}") for rank in range(size)]
    if forked:
        ranks = [ForkedRank(module, [str(folder), *words], _environment(each), errors) for each, errors in own]
        return _watched(ranks, folder, size, stopped)
    return _watched([_start(["-m", module, str(folder), *words], *each) for each in own], folder, size, stopped)


def torchrun(folder: Path, size: int, module: str, *words: str, restarts: int = 0, shared_store: bool = False) -> Ended:
    """The same under torchrun."""
    options = ["--standalone", f"--nproc-per-node={size}", f"--max-restarts={restarts}", "--monitor-interval=0.1"]
    environment = {**os.environ, "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "0" if shared_store else "1"}
    start = ["-m", "torch.distributed.run", *options, "-m", module, str(folder), *words]
    return _watched([_start(start, environment, folder / "errors-0")], folder, size)


def report(what: Any) -> None:
    """Write this rank's report for the test."""
    Path(sys.argv[1], f"report-{os.environ['RANK']}.json").write_text(json.dumps(what))


def _environment(environment: dict[str, str]) -> dict[str, str]:
    return {"OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo", **environment, "PYTHONPATH": str(ROOT)}


def _start(words: Sequence[str], environment: dict[str, str], errors: Path) -> subprocess.Popen[bytes]:
    with errors.open("wb") as file:
        return subprocess.Popen(
            [sys.executable, *words], env=_environment(environment), stdout=file, stderr=file, start_new_session=True
        )


def _watched(
    processes: Sequence[subprocess.Popen[bytes] | ForkedRank], folder: Path, size: int, stopped: int | None = None
) -> Ended:
    try:
        for rank, each in enumerate(processes):
            if rank != stopped:
                each.wait(timeout=LIMIT)
        if stopped is not None:
            processes[stopped].kill()
        codes = [each.wait(timeout=LIMIT) for each in processes]
    except subprocess.TimeoutExpired:
        raise AssertionError(f"the job hangs:\n{_errors(folder)}") from None
    finally:
        for each in processes:
            with suppress(ProcessLookupError):  # its session, so that workers of torchrun go as well
                os.killpg(each.pid, signal.SIGKILL)
            each.wait()
    files = [folder / f"report-{rank}.json" for rank in range(size)]
    return Ended(codes, [json.loads(file.read_text()) if file.exists() else None for file in files], _errors(folder))


def _errors(folder: Path) -> str:
    return "\n".join(f"{file.name}:\n{file.read_text(errors='replace')}" for file in sorted(folder.glob("errors-*")))
