"""Ranks of jobs, forked from a process that has imported what they need, which costs more than most jobs.

``python -m tests.distributed.ranks MODULE`` is that process. It obeys lines of JSON on its standard input: ``start``
forks a rank, whose program is the module, and is answered by its process id; ``poll`` is answered by the exit code of
a rank, or by null while it runs.
"""

from __future__ import annotations

import functools
import gc
import json
import os
import runpy
import signal
import subprocess
import sys
import time
from importlib import import_module
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
LAZY = ("torch._dynamo", "torch.distributed.checkpoint.state_dict", "torch.distributed.tensor")
"""What torch imports when a sharded model is trained and saved."""
EVERY = 0.02
"""Seconds between two looks at a rank that is waited for."""


class Nursery:
    """The process that forks the ranks of one module."""

    def __init__(self, module: str, backend: str) -> None:
        environment = {"OMP_NUM_THREADS": "1", **os.environ, "KERAS_BACKEND": backend, "PYTHONPATH": str(ROOT)}
        self._process = subprocess.Popen(
            [sys.executable, "-m", __name__, module],
            env=environment,
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
        )

    def ask(self, **request: Any) -> Any:
        """Send a request; return the answer."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        return json.loads(self._process.stdout.readline())


@functools.cache
def nursery(module: str, backend: str) -> Nursery:
    """Return the process that forks the ranks of a module, on a backend of Keras; it ends when this process ends."""
    return Nursery(module, backend)


class ForkedRank:
    """A rank, with the methods of ``subprocess.Popen`` that a job needs."""

    def __init__(self, module: str, words: list[str], environment: dict[str, str], errors: Path) -> None:
        self._nursery = nursery(module, environment.get("KERAS_BACKEND", "torch"))
        request = {"words": words, "environment": environment, "errors": str(errors), "cwd": str(Path.cwd())}
        self.pid: int = self._nursery.ask(start=request)
        self.returncode: int | None = None

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the end of the rank; return its exit code."""
        end = time.monotonic() + (timeout or float("inf"))
        while self.returncode is None:
            self.returncode = self._nursery.ask(poll=self.pid)
            if self.returncode is None:
                if time.monotonic() > end:
                    raise subprocess.TimeoutExpired(f"rank {self.pid}", timeout or 0)
                time.sleep(EVERY)
        return self.returncode

    def kill(self) -> None:
        """Kill it, unless it has ended."""
        if self.returncode is None:
            os.kill(self.pid, signal.SIGKILL)


def become(module: str, words: list[str], environment: dict[str, str], errors: str, cwd: str) -> None:
    """Be a rank: a process with a session, files and an environment of its own."""
    os.setsid()
    for number, (name, flags) in enumerate([(os.devnull, os.O_RDONLY), *[(errors, os.O_WRONLY | os.O_APPEND)] * 2]):
        file = os.open(name, flags | os.O_CREAT * (number > 0), 0o644)
        os.dup2(file, number)
        os.close(file)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(cwd)
    sys.argv = [module, *words]
    sys.modules.pop(module)
    runpy.run_module(module, run_name="__main__", alter_sys=True)


def main(module: str) -> None:
    """Fork a rank for each request; a rank leaves the loop, and ends as any program does."""
    import_module(module)
    for lazy in LAZY if "torch" in sys.modules else ():
        import_module(lazy)
    gc.freeze()
    for line in sys.stdin:
        request = json.loads(line)
        if "poll" in request:
            pid, status = os.waitpid(request["poll"], os.WNOHANG)
            answer = os.waitstatus_to_exitcode(status) if pid else None
        else:
            answer = os.fork()
            if answer == 0:
                become(module, **request["start"])
                return
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
