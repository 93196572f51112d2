"""A disk that fails on request: a library that counts the write calls replaces those of the C library.

Few machines have such a disk. A process that is started by ``run`` is configured by ``FAULTS``.
"""

from __future__ import annotations

import ctypes
import errno
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest

__all__ = ["KINDS_OF_FAULTS", "SHORT", "Fault", "Faults", "compiled", "run"]

LIBRARY = "FAULTS"
"""Environment variable that names the preloaded library."""
SHORT = 0
KINDS_OF_FAULTS = {
    "short": SHORT,
    "EAGAIN": errno.EAGAIN,
    "EINTR": errno.EINTR,
    "EDQUOT": errno.EDQUOT,
    "ENOSPC": errno.ENOSPC,
}

SOURCE = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdatomic.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

/* The calls on regular files since `arm`; which of them fails, and how: 0 takes half of the bytes, else it is errno. */
static atomic_long calls = 0, at = 0, until = 0;
static atomic_int how = 0, armed = 0;

void arm(long first, long last, int fault) { calls = 0; at = first; until = last; how = fault; armed = 1; }
long disarm(void) { armed = 0; return calls; }

/* -1 where the call is to fail, else how many bytes it may take. */
static ssize_t allowed(int file, size_t size) {
    struct stat found;
    int before = errno;
    if (!armed) return size;
    if (fstat(file, &found) || !S_ISREG(found.st_mode)) { errno = before; return size; }
    errno = before;
    long now = ++calls;
    if (now < at || now > until) return size;
    if (how) { errno = how; return -1; }
    return size > 1 ? size / 2 : size;
}

#define REAL(name) __typeof__(&name) real = (__typeof__(&name))dlsym(RTLD_NEXT, #name)

ssize_t write(int file, const void *data, size_t size) {
    REAL(write);
    ssize_t most = allowed(file, size);
    return most < 0 ? -1 : real(file, data, most);
}

ssize_t pwrite(int file, const void *data, size_t size, off_t place) {
    REAL(pwrite);
    ssize_t most = allowed(file, size);
    return most < 0 ? -1 : real(file, data, most, place);
}

ssize_t pwrite64(int file, const void *data, size_t size, off64_t place) {
    REAL(pwrite64);
    ssize_t most = allowed(file, size);
    return most < 0 ? -1 : real(file, data, most, place);
}

ssize_t writev(int file, const struct iovec *data, int count) {
    REAL(writev);
    size_t size = 0;
    for (int i = 0; i < count; i++) size += data[i].iov_len;
    ssize_t most = allowed(file, size);
    if (most < 0) return -1;
    if ((size_t)most == size) return real(file, data, count);
    struct iovec part = {data[0].iov_base, data[0].iov_len > 1 ? data[0].iov_len / 2 : data[0].iov_len};
    return real(file, &part, 1);
}

ssize_t sendfile(int out, int in, off_t *place, size_t size) {
    REAL(sendfile);
    ssize_t most = allowed(out, size);
    return most < 0 ? -1 : real(out, in, place, most);
}

ssize_t sendfile64(int out, int in, off64_t *place, size_t size) {
    REAL(sendfile64);
    ssize_t most = allowed(out, size);
    return most < 0 ? -1 : real(out, in, place, most);
}

ssize_t copy_file_range(int in, off64_t *from, int out, off64_t *to, size_t size, unsigned flags) {
    REAL(copy_file_range);
    ssize_t most = allowed(out, size);
    return most < 0 ? -1 : real(in, from, out, to, most, flags);
}

int ftruncate(int file, off_t size) {
    REAL(ftruncate);
    return allowed(file, 1) < 0 ? -1 : real(file, size);
}

int ftruncate64(int file, off64_t size) {
    REAL(ftruncate64);
    return allowed(file, 1) < 0 ? -1 : real(file, size);
}
"""


def compiled(source: str, folder: Path) -> Path:
    """Compile the library to preload before the C library, in a folder."""
    compiler = shutil.which("cc")
    if compiler is None or not sys.platform.startswith("linux"):
        pytest.skip("no C compiler is here, or none of Linux")
    file, library = folder / "before.c", folder / "before.so"
    file.write_text(source)
    subprocess.run([compiler, "-shared", "-fPIC", "-o", library, file, "-ldl"], check=True)
    return library


def run(library: Path, *command: str, **variables: str) -> str:
    """Return the output of a Python process that has the library preloaded."""
    environment = {**os.environ, "LD_PRELOAD": str(library), LIBRARY: str(library), **variables}
    environment["PYTHONPATH"] = str(Path(__file__).parents[2])
    done = subprocess.run([sys.executable, *command], env=environment, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


class Fault(NamedTuple):
    """Which call fails, counted from 1, and how; also the later ones, if it is permanent."""

    at: int
    how: int
    lasting: bool = False


class Faults:
    """The preloaded library in this process."""

    def __init__(self) -> None:
        self._library: Any = ctypes.CDLL(os.environ[LIBRARY])
        self._library.arm.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_int]
        self._library.disarm.restype = ctypes.c_long

    def arm(self, fault: Fault) -> None:
        """Enable the fault."""
        self._library.arm(fault.at, 1 << 60 if fault.lasting else fault.at, fault.how)

    def disarm(self) -> int:
        """Disable the fault; return the number of calls."""
        return int(self._library.disarm())
