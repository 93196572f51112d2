"""A quota that is used up costs the new checkpoint only: the errors are those that a file system with quotas gives.

Few machines have one, so the calls that write are taken from the C library by one that counts.
"""

import json
from pathlib import Path
from typing import Any

from .faults import compiled, run

COUNTS = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

/* Bytes that may still be written to files while QUOTA, which the process sets, says so. */
static ssize_t left = -1;

static int refused(int file, size_t size) {
    struct stat found;
    char *quota = getenv("QUOTA");
    if (!quota) { left = -1; return 0; }
    if (fstat(file, &found) || !S_ISREG(found.st_mode)) return 0;
    if (left < 0) left = atol(quota);
    if ((size_t)left < size) { errno = EDQUOT; return 1; }
    left -= size;
    return 0;
}

ssize_t write(int file, const void *data, size_t size) {
    ssize_t (*real)(int, const void *, size_t) = dlsym(RTLD_NEXT, "write");
    return refused(file, size) ? -1 : real(file, data, size);
}

ssize_t writev(int file, const struct iovec *data, int count) {
    ssize_t (*real)(int, const struct iovec *, int) = dlsym(RTLD_NEXT, "writev");
    size_t size = 0;
    for (int i = 0; i < count; i++) size += data[i].iov_len;
    return refused(file, size) ? -1 : real(file, data, count);
}
"""

TRAININGS = """
import json, os
from pathlib import Path
from trainbus import Run, journal
from trainbus.plugins import ModelCheckpoint
from trainbus.checkpoints import read
from trainbus.storage.directory_lock import LOCK
from tests.reliability.listing import without_history
from tests.reliability.subjects import KINDS, number_in

for name in ("line", "torch", "safetensors"):
    kind = KINDS[name](2_000)
    for share in (0.0, 0.6):
        path = Path(f"{name}-{share}") / f"best{kind.suffix}"
        saver = ModelCheckpoint(
            str(path), monitor="loss", save_best_only=True, save_weights_only=kind.weights_only, on_error="warn"
        )
        seen = []
        with Run(kind.subject, saver, verbose=0) as run:
            for epoch in run.epochs(4):
                run._life.executor.writer.wait()
                if epoch:
                    there = set(without_history(os.listdir(path.parent))) - {LOCK, journal.NAME}
                    seen.append([number_in(kind, path), read(path).epoch, sorted(there)])
                os.environ.pop("QUOTA", None)
                if epoch == 1:
                    os.environ["QUOTA"] = str(int(path.stat().st_size * share))
                kind.carry(epoch)
                run.log(loss=[3.0, 1.0, 2.0, 2.5][epoch])
        failures = [str(each) for each in run.failures if each.plugin == "ModelCheckpoint"]
        print(json.dumps([path.name, seen, number_in(kind, path), failures]), flush=True)
"""


def test_a_quota_that_is_used_up_costs_the_new_checkpoint_only(tmp_path: Path) -> None:
    """The old one stays complete, nothing is left of the new one, the run reports it, and a better one is saved."""
    said = run(compiled(COUNTS, tmp_path), "-c", TRAININGS)
    found: list[Any] = list(map(json.loads, said.splitlines()))

    assert len(found) == 6
    for name, seen, last, failures in found:
        files = [name, f"trainbus.{name}.json"]
        assert seen == [[0, 0, files], [0, 0, files], [2, 2, files]]
        assert last == 2
        assert len(failures) == 1
        assert f"{name}' was not written" in failures[0]
        assert "Disk quota exceeded" in failures[0]
