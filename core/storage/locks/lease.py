"""Locks for directories in stores that do not support locks: each lock is an object that its owner keeps renewing.

The store must guarantee only this: if several processes create the same object at once, exactly one succeeds. A process
takes over an object that its owner has not renewed for a while. To find out, it waits for a renewal; it never compares
clocks.
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

from ...errors import DirectoryLocked
from ...failures import LOG
from ..atomic_file import RESERVED
from .owner import process_number

RENEW_SECONDS = 10.0
"""Seconds between two renewals."""
MISSED_RENEWALS = 3
"""Number of missed renewals after which an owner is considered dead."""

_OWN_TOKENS: set[str] = set()
"""Tokens of the leases that this process holds."""


class LeaseObject(Protocol):
    """A small text object in a store."""

    def create(self, text: str) -> bool:
        """Make the object and return True; return False if it exists."""
        ...

    def replace(self, text: str) -> None:
        """Replace the content with ``text``."""
        ...

    def read(self) -> bytes:
        """Return the content; raise ``FileNotFoundError`` if the object does not exist."""
        ...

    def remove(self) -> None:
        """Remove the object if it exists."""
        ...

    def sibling(self, name: str) -> Self:
        """Return another object in the same directory."""
        ...


class LeaseRecord(NamedTuple):
    """The content of a lease object, one field per line."""

    process: int
    host: str
    machine: str
    """Identifies the machine or container in which the process number is valid."""
    token: str
    """Identifies this lease."""
    renewals: int
    """The number of renewals."""

    @classmethod
    def parse(cls, text: str) -> LeaseRecord:
        """Parse a record; for an invalid text, return the record of an unknown owner."""
        try:
            process, host, machine, token, renewals = text.split("\n")
            return cls(process_number(process), host, machine, token, int(renewals))
        except ValueError:
            return cls(0, "an unknown host", "", "", 0)

    def __str__(self) -> str:
        return "\n".join(map(str, self))

    @property
    def owner(self) -> str:
        """A description of the owner."""
        return f"process {self.process} on {self.host}"

    @property
    def is_dead(self) -> bool:
        """Whether the owner is known to be dead; False if that cannot be determined on this machine."""
        if self.machine != _machine() or os.name == "nt":  # on Windows, a check could terminate the process
            return False
        if self.process == os.getpid():  # with an unknown token, the owner is an earlier process with this number
            return self.token not in _OWN_TOKENS
        with suppress(OSError):
            os.kill(self.process, 0)
            return False
        return not Path(f"/proc/{self.process}").exists()  # a process of another user is alive


def acquire(lease_object: LeaseObject, directory: str) -> Lease:
    """Lock a directory through its lease object.

    Args:
        lease_object: The object that holds the lease.
        directory: The name of the directory in messages.

    Raises:
        DirectoryLocked: A living process holds the lease.
        OSError: The store cannot be reached or written.
    """
    own = LeaseRecord(os.getpid(), socket.gethostname(), _machine(), secrets.token_hex(8), 0)
    while not lease_object.create(str(own)):
        text = _read(lease_object)
        if text is None:  # the owner has released it meanwhile
            continue
        found = LeaseRecord.parse(text)
        if found.token in _OWN_TOKENS or not (
            found.is_dead or _is_stale(lease_object, text, f"{directory}: {found.owner}")
        ):
            raise DirectoryLocked(found.owner)
        if _take_over(lease_object, text, own, directory):
            break
    if lease_object.create(str(own)):  # the object exists, so a correct store must refuse
        LOG.warning(
            "%s: this store, or an old version of its library, overwrites an existing object instead of refusing to "
            "create it: two runs that save there at the same time cannot detect each other",
            directory,
        )
    return Lease(lease_object, own, directory)


class Lease:
    """A lock on a directory; a thread renews it until it is released."""

    def __init__(self, lease_object: LeaseObject, record: LeaseRecord, directory: str) -> None:
        self.lease_object, self.record, self.directory = lease_object, record, directory
        self.lost = ""
        """The process that took over the lease after missed renewals; empty if there is none."""
        self._ended = threading.Event()
        _OWN_TOKENS.add(record.token)
        weakref.finalize(self, _OWN_TOKENS.discard, record.token)  # a garbage-collected run holds no lock
        renewing = threading.Thread(target=_keep_renewing, args=(weakref.ref(self), self._ended), daemon=True)
        renewing.name = "trainbus-lease"
        renewing.start()

    def renew(self) -> None:
        """Renew the lease, unless another run has taken it over."""
        with suppress(OSError):  # if the store is unreachable, the next renewal tries again
            text = _read(self.lease_object)
            found = self.record if text is None else LeaseRecord.parse(text)
            if found.token == self.record.token:
                self.record = self.record._replace(renewals=self.record.renewals + 1)
                self.lease_object.replace(str(self.record))
            elif not self._ended.is_set():
                self.lost = found.owner
                LOG.warning(
                    "%s was taken over by another run (%s); this run no longer saves there", self.directory, self.lost
                )
                self._ended.set()

    def release(self) -> None:
        """Release the lock."""
        self._ended.set()
        _OWN_TOKENS.discard(self.record.token)
        with suppress(OSError):  # then the lease expires
            text = _read(self.lease_object)
            if text is not None and LeaseRecord.parse(text).token == self.record.token:
                self.lease_object.remove()


def _keep_renewing(lease: weakref.ref[Lease], ended: threading.Event) -> None:
    while not ended.wait(RENEW_SECONDS):
        alive = lease()
        if alive is None:  # its run was garbage-collected
            return
        alive.renew()
        del alive


def _read(lease_object: LeaseObject) -> str | None:
    try:
        return lease_object.read().decode(errors="replace")
    except FileNotFoundError:
        return None


def _is_stale(lease_object: LeaseObject, text: str, owner: str) -> bool:
    """Wait for ``MISSED_RENEWALS`` renewal intervals, and return whether the object's text stayed the same."""
    LOG.warning("%s holds the lock; waiting up to %.0f s for a renewal", owner, RENEW_SECONDS * MISSED_RENEWALS)
    end = time.monotonic() + RENEW_SECONDS * MISSED_RENEWALS
    while time.monotonic() < end:
        time.sleep(RENEW_SECONDS / 10)
        if _read(lease_object) != text:
            return False
    return True


def _take_over(lease_object: LeaseObject, text: str, own: LeaseRecord, directory: str) -> bool:
    """Replace the record of a dead owner; return False if another process did so first."""
    # several processes may find this record stale; the one that creates the claim reads the lease again and replaces it
    claim = lease_object.sibling(f"{RESERVED}claim-{hashlib.sha256(text.encode()).hexdigest()[:16]}")
    while not claim.create(str(own)):
        other = _read(claim)
        if other is not None and not _is_stale(claim, other, f"{directory}: {LeaseRecord.parse(other).owner}"):
            return False
        claim.remove()
    try:
        if _read(lease_object) != text:
            return False
        lease_object.replace(str(own))
        return True
    finally:
        claim.remove()


def _machine() -> str:
    """Return a string that identifies this boot of the machine and this container."""
    parts = [socket.gethostname()]
    with suppress(OSError):
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text(encoding="utf-8").strip())
        parts.append(str(Path("/proc/self/ns/pid").readlink()))
    return " ".join(parts)
