"""Owning a directory in a store that knows no locks: by an object that its owner renews as long as it lives.

All that is needed of the store is that of several who make one object at once a single one succeeds. Whoever finds
one that is not renewed for a while takes it over; that is told by waiting, so that no clocks are compared.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import socket
import threading
import time
import weakref
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple, Protocol, Self

from ..errors import DirectoryLocked
from ..failures import LOG
from .atomic_file import RESERVED

__all__ = ["Lease", "Slate", "take"]

BEAT = 10.0
"""Seconds between two renewals."""
PATIENCE = 3
"""How many renewals an owner misses that is taken for dead."""

_MINE: set[str] = set()
"""Tokens of the leases that this process holds."""


class Slate(Protocol):
    """An object of a store that holds a few lines."""

    def create(self, text: str) -> bool:
        """Make it; False where it is there already, or somebody else was faster."""
        ...

    def replace(self, text: str) -> None:
        """Make `text` its content."""
        ...

    def read(self) -> bytes:
        """Its content; raises `FileNotFoundError` where it is not there."""
        ...

    def remove(self) -> None:
        """Remove it, where it is there."""
        ...

    def beside(self, name: str) -> Self:
        """Another one in the same directory."""
        ...


class Entry(NamedTuple):
    """What a lease says, a line each."""

    process: int
    host: str
    machine: str
    """Where that number and no other means that process."""
    token: str
    """Tells this lease from all others."""
    beats: int
    """How often it was renewed."""

    @classmethod
    def parse(cls, text: str) -> Entry:
        """The entry in a text; what is none has an owner of whom nothing is known."""
        try:
            process, host, machine, token, beats = text.split("\n")
            return cls(int(process), host, machine, token, int(beats))
        except ValueError:
            return cls(0, "an unknown host", "", "", 0)

    def __str__(self) -> str:
        return "\n".join(map(str, self))

    @property
    def holder(self) -> str:
        """The owner as people are told of it."""
        return f"process {self.process} on {self.host}"

    @property
    def dead(self) -> bool:
        """Whether its process is known to be no more; False where that cannot be told from here."""
        if self.machine != _machine() or os.name == "nt":  # Windows has no harmless way to ask
            return False
        if self.process == os.getpid():  # else an earlier process had this one's number
            return self.token not in _MINE
        with suppress(OSError):
            os.kill(self.process, 0)
            return False
        return not Path(f"/proc/{self.process}").exists()  # it may be somebody else's, and alive


def take(slate: Slate, directory: str) -> Lease:
    """Own a directory, of which people are told by this name, by the lease on its slate.

    Raises:
        Held: somebody else, who lives, owns it.
        OSError: the store cannot be reached, or not be written.
    """
    mine = Entry(os.getpid(), socket.gethostname(), _machine(), secrets.token_hex(8), 0)
    while not slate.create(str(mine)):
        found = _read(slate)
        if found is None:  # given back meanwhile
            continue
        theirs = Entry.parse(found)
        if theirs.token in _MINE or not (theirs.dead or _silent(slate, found, f"{directory}: {theirs.holder}")):
            raise DirectoryLocked(theirs.holder)
        if _taken_over(slate, found, mine, directory):
            break
    if slate.create(str(mine)):  # it is there
        LOG.warning(
            "%s: this store does not refuse to make an object that is there already, or its library is too old to ask: "
            "two runs that save there at once are not told of each other",
            directory,
        )
    return Lease(slate, mine, directory)


class Lease:
    """A directory that is owned, and renewed in a thread of its own until it is given back."""

    def __init__(self, slate: Slate, entry: Entry, directory: str) -> None:
        self.slate, self.entry, self.directory = slate, entry, directory
        self.lost = ""
        """Who has taken it over, since nothing was heard of this process for too long; empty for nobody."""
        self._ended = threading.Event()
        _MINE.add(entry.token)
        weakref.finalize(self, _MINE.discard, entry.token)  # what a run that is lost has owned is free
        beating = threading.Thread(target=_beat, args=(weakref.ref(self), self._ended), daemon=True)
        beating.name = "trainbus-lease"
        beating.start()

    def renew(self) -> None:
        """Give a sign of life, unless somebody else owns the directory now."""
        with suppress(OSError):  # a store that cannot be reached is asked again at the next beat
            found = _read(self.slate)
            theirs = self.entry if found is None else Entry.parse(found)
            if theirs.token == self.entry.token:
                self.entry = self.entry._replace(beats=self.entry.beats + 1)
                self.slate.replace(str(self.entry))
            elif not self._ended.is_set():
                self.lost = theirs.holder
                LOG.warning(
                    "%s belongs to another run (%s) now: this one saves nothing there", self.directory, self.lost
                )
                self._ended.set()

    def release(self) -> None:
        """Give the directory back."""
        self._ended.set()
        _MINE.discard(self.entry.token)
        with suppress(OSError):  # then it lapses
            found = _read(self.slate)
            if found is not None and Entry.parse(found).token == self.entry.token:
                self.slate.remove()


def _beat(lease: weakref.ref[Lease], ended: threading.Event) -> None:
    while not ended.wait(BEAT):
        alive = lease()
        if alive is None:  # its run was lost
            return
        alive.renew()
        del alive


def _read(slate: Slate) -> str | None:
    try:
        return slate.read().decode(errors="replace")
    except FileNotFoundError:
        return None


def _silent(slate: Slate, text: str, told: str) -> bool:
    """Whether what is written on a slate stays what it is for as long as one has patience."""
    LOG.warning("%s owns it; waiting up to %.0f s for a sign of life", told, BEAT * PATIENCE)
    end = time.monotonic() + BEAT * PATIENCE
    while time.monotonic() < end:
        time.sleep(BEAT / 10)
        if _read(slate) != text:
            return False
    return True


def _taken_over(slate: Slate, text: str, mine: Entry, directory: str) -> bool:
    """Put an entry in the place of a dead one, unless somebody else does."""
    # of all who found this entry dead one makes this object, and looks again before it takes over
    claim = slate.beside(f"{RESERVED}claim-{hashlib.sha256(text.encode()).hexdigest()[:16]}")
    while not claim.create(str(mine)):
        other = _read(claim)
        if other is not None and not _silent(claim, other, f"{directory}: {Entry.parse(other).holder}"):
            return False
        claim.remove()
    try:
        if _read(slate) != text:
            return False
        slate.replace(str(mine))
        return True
    finally:
        claim.remove()


def _machine() -> str:
    """What tells this machine, since it started, and in it this container, from others."""
    parts = [socket.gethostname()]
    with suppress(OSError):
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text(encoding="utf-8").strip())
        parts.append(str(Path("/proc/self/ns/pid").readlink()))
    return " ".join(parts)
