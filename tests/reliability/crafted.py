"""Files that somebody made to break their reader, and a process in which reading one cannot do harm."""

from __future__ import annotations

import collections
import os
import pathlib
import pickle
import resource
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from struct import pack
from typing import Any, NoReturn

from trainbus import CheckpointError

ROOM = 600_000_000
"""Bytes of address space that a child may add, for files of less than 3 MB."""
SECONDS = 20


def outcome_of(read: Callable[[], object]) -> str:
    """Read something in a forked process with little memory and time.

    Returns:
        "a value", the message of the ``CheckpointError``, or, in capitals, what else happened.
    """
    receiver, sender = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(receiver)
        _answer(read, sender)
    os.close(sender)
    with os.fdopen(receiver) as answers:
        answer = answers.read()
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return answer if status == 0 else f"DIED of {-status}: {answer}"


def _answer(read: Callable[[], object], sender: int) -> NoReturn:
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.alarm(2 * SECONDS)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + ROOM, resource.RLIM_INFINITY))
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
    before = process()
    try:
        read()
        answer = "a value"
    except CheckpointError as error:
        answer = str(error)
        if "\n" in answer or len(answer) > 1000:
            answer = f"LONG: {answer[:2000]}"
    except BaseException:  # noqa: BLE001 - the test sees it
        answer = f"RAISED {traceback.format_exc()[-2000:]}"
    if process() != before:
        answer = f"CHANGED the process; {answer}"
    os.write(sender, answer.encode(errors="replace"))
    os._exit(0)


def process() -> dict[str, Any]:
    """Return what a file could change in this process: the attributes of classes, the environment, the import path."""
    modules = [
        *(pathlib, collections),
        *(
            sys.modules[name]
            for name in ("torch.distributed.checkpoint.metadata", "torch.distributed.checkpoint.filesystem", "numpy")
            if name in sys.modules
        ),
    ]
    classes = [each for module in modules for each in vars(module).values() if isinstance(each, type)]
    found: dict[str, Any] = {f"{each.__module__}.{each.__qualname__}": dict(vars(each)) for each in classes}
    return found | {"environment": dict(os.environ), "path": list(sys.path), "directory": str(Path.cwd())}


# --- pickles, each fragment of which pushes one value


def text(value: str) -> bytes:
    """A string."""
    data = value.encode()
    return pickle.BINUNICODE + pack("<I", len(data)) + data


def whole(value: int) -> bytes:
    """A number."""
    data = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
    return pickle.LONG1 + bytes([len(data)]) + data


def sequence(*parts: bytes, kind: str = "tuple") -> bytes:
    """A tuple, or a list."""
    inside = pickle.MARK + b"".join(parts)
    return inside + pickle.TUPLE if kind == "tuple" else pickle.EMPTY_LIST + inside + pickle.APPENDS


def mapping(*items: tuple[bytes, bytes]) -> bytes:
    """A dictionary."""
    return pickle.EMPTY_DICT + pickle.MARK + b"".join(key + value for key, value in items) + pickle.SETITEMS


def name(module: str, attribute: str) -> bytes:
    """Something that is imported."""
    return pickle.GLOBAL + f"{module}\n{attribute}\n".encode()


def call(maker: bytes, *arguments: bytes, new: bool = False) -> bytes:
    """The result of a call."""
    return maker + sequence(*arguments) + (pickle.NEWOBJ if new else pickle.REDUCE)


def build(made: bytes, state: bytes) -> bytes:
    """Something with attributes that are set."""
    return made + state + pickle.BUILD


def doubled(times: int, start: bytes = pickle.EMPTY_TUPLE) -> bytes:
    """A tuple of the same tuple twice, and so on."""
    step = pickle.BINPUT + b"\xff" + pickle.BINGET + b"\xff" + pickle.TUPLE2
    return start + step * times


def nested(times: int) -> bytes:
    """A tuple in a tuple, and so on."""
    return pickle.EMPTY_TUPLE + pickle.TUPLE1 * times


def whole_pickle(fragment: bytes) -> bytes:
    """A complete pickle."""
    return pickle.PROTO + b"\x02" + fragment + pickle.STOP
