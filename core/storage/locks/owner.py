"""The process that holds a lock, as its record in the lock identifies it."""

from __future__ import annotations

import json
import os
import secrets
import socket
from collections.abc import Iterable
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import NamedTuple, TypeAlias

LARGEST = 4096
"""Maximum number of bytes that are read from a lock file; its record takes about 200."""

LAST_PROCESS = (1 << 31) - 1
"""The largest number of a process that any system has."""

Parts: TypeAlias = tuple[str, ...]
"""A pattern for each part of a path."""

TOKENS = set[str]()
"""The tokens of the locks that this process holds."""


class Owner(NamedTuple):
    """The process that holds a lock, as recorded in the lock file, one field per line."""

    name: str
    """A description of the process."""
    number: int = 0
    machine: str = ""
    """Identifies the machine; a reboot does not change it."""
    boot: str = ""
    """Identifies the current boot of the machine; empty if unknown."""
    space: str = ""
    """Identifies the container in which the process number is valid; empty if unknown."""
    start: str = ""
    """The start time of the process, by the machine's clock; empty if unknown."""
    token: str = ""
    """Identifies this lock."""
    below: str = ""
    """The directories below the locked one in which the process may save, too: lists of patterns, as JSON."""

    @classmethod
    def this(cls, below: Iterable[Parts] = ()) -> Owner:
        """Return the record of this process, with a new token."""
        number, text = os.getpid(), json.dumps(sorted(set(below)))
        if len(text) > LARGEST // 2:  # it must fit: any names, of the same depth
            text = json.dumps(sorted({("*",) * len(parts) for parts in below}))[: LARGEST // 2]
        return cls(process_name(), number, *_place(), _start_of(number), secrets.token_hex(8), text)

    @classmethod
    def parse(cls, text: str) -> Owner:
        r"""Parse an owner; without an owner the name is empty, and unknown fields are empty.

        >>> Owner.parse("process 7 on there\n7\nthere\n\n\n\n0").number, Owner.parse("what").number
        (7, 0)
        """
        name, *rest = text.split("\n")
        try:
            number, machine, boot, space, start, token, *more = rest
            return cls(name.strip(), process_number(number), machine, boot, space, start, token, "".join(more[:1]))
        except ValueError:
            return cls(name.strip())

    def __str__(self) -> str:
        return "\n".join(map(str, self))

    @property
    def patterns(self) -> list[Parts]:
        """The patterns of the directories below the locked one; none if the record is damaged.

        >>> Owner("a", below='[["*", "x"]]').patterns, Owner("a", below="[").patterns
        ([('*', 'x')], [])
        """
        try:
            return [tuple(map(str, parts)) for parts in json.loads(self.below)]
        except (ValueError, TypeError, RecursionError):
            return []

    @property
    def is_dead(self) -> bool:
        """Whether the process is known to be dead; False if this machine cannot determine it."""
        machine, boot, space = _place()
        if not self.number or self.machine != machine or not self.boot:
            return False
        if self.boot != boot:
            return True
        if self.space != space:
            return False
        if self.number == os.getpid() and self.start == _start_of(self.number):
            return self.token not in TOKENS
        try:
            os.kill(self.number, 0)
        except ProcessLookupError:
            return True
        except OSError:  # the process belongs to another user
            return False
        return _start_of(self.number) != self.start


def process_number(text: str) -> int:
    """Return the number of a process in the record of a lock.

    Raises:
        ValueError: No process has this number, which the system may take for a group of processes.

    >>> process_number("7")
    7
    """
    number = int(text)
    if not 0 < number <= LAST_PROCESS:
        raise ValueError(f"no process has the number {number}")
    return number


def process_name() -> str:
    """Return the description of this process in its locks."""
    return f"process {os.getpid()} on {socket.gethostname()}"


@cache
def _place() -> tuple[str, str, str]:
    """Return the identifiers of this machine, its current boot and this container, as in ``Owner``."""
    machine, boot, space = socket.gethostname(), "", ""
    with suppress(OSError):
        machine += " " + Path("/etc/machine-id").read_text(encoding="utf-8").strip()
    with suppress(OSError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="utf-8").strip()
        space = str(Path("/proc/self/ns/pid").readlink())
    return machine, boot, space


def _start_of(process: int) -> str:
    """Return the start time of a process; empty if unknown."""
    with suppress(OSError, IndexError):
        return Path(f"/proc/{process}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[19]
    return ""
