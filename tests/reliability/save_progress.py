"""What a process that may die at any time has saved, for the process that kills it."""

from __future__ import annotations

import mmap
import os
import struct

from trainbus import Run, hookimpl
from trainbus.checkpoints import Checkpoint


class SaveProgress:
    """The last number that was saved and the number being saved, in memory that forked processes share."""

    def __init__(self) -> None:
        self.shared = mmap.mmap(-1, 16)
        self.done, self.going = os.pipe()

    def begin(self, number: int) -> None:
        """Report that the save of this number begins."""
        self.shared[8:16] = struct.pack("q", number)

    def end(self, number: int, going: int = 0) -> None:
        """Report that this number was saved, and the number whose save has begun since; 0 for none."""
        self.shared[0:16] = struct.pack("qq", number, going)
        os.write(self.going, b".")

    def read(self) -> tuple[int, int]:
        """Return the last number that was saved and the number being saved."""
        return struct.unpack("qq", self.shared[0:16])

    def close(self) -> None:
        os.close(self.done)
        os.close(self.going)


class SaveReporter:
    """A plugin that reports the saves of a run whose every epoch ends with one."""

    def __init__(self, progress: SaveProgress) -> None:
        self.progress = progress

    @hookimpl
    def on_epoch_end(self, run: Run) -> None:
        if run.rank == 0:
            self.progress.begin(run.epoch)

    @hookimpl
    def on_checkpoint(self, run: Run, checkpoint: Checkpoint) -> None:
        if run.rank == 0:
            self.progress.end(checkpoint.epoch, run.epoch if run.epoch > checkpoint.epoch else 0)
