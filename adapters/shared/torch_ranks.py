"""The processes of a ``torch.distributed`` job, and their messages, which are separate from those of the training."""

# torch's collectives and stores carry few types, and the store that all ranks share has no public name
# ruff: noqa: SLF001
# pyright: reportUnknownMemberType=false, reportPrivateUsage=false

from __future__ import annotations

import json
import logging
import os
import re
import secrets
import time
import traceback
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from functools import cached_property
from typing import Any

import torch
import torch.distributed as dist

from trainbus import RankError

from .torch_store import BoundedStore

HEAD = 1024
"""Bytes of a broadcast's first message; a second message carries the rest."""
LENGTH = 8
"""Bytes of the length in front of each message."""
ROLL_CALL = 3.0
"""Seconds within which a live rank responds after another has failed."""


def rank_and_size() -> tuple[int, int]:
    """Return this process's rank in the default process group and the group's size; ``(0, 1)`` without a group."""
    if not (dist.is_available() and dist.is_initialized()):
        return 0, 1
    return dist.get_rank(), dist.get_world_size()


class TorchRanks:
    """The ranks of the default process group, which exchange messages through a separate gloo group.

    Nothing here can interfere with a collective of the training on any backend, and no device waits. The first
    exchange, which all ranks reach together, creates the group.

    Args:
        timeout: Seconds that one rank waits for the others.
    """

    def __init__(self, timeout: float) -> None:
        self.rank = dist.get_rank()
        self.size = dist.get_world_size()
        self.timeout = timeout
        self._closed = ""

    @cached_property
    def group(self) -> Any:
        """The gloo group; other exchanges may use it too if all ranks make them in the same order."""
        return dist.new_group(backend="gloo", timeout=timedelta(seconds=self.timeout))

    def all_reduce_sum(self, numbers: Sequence[float]) -> list[float]:
        """Return the sums over all ranks, bit for bit the same on each of them."""
        return self._reduced(numbers, dist.ReduceOp.SUM)

    def all_reduce_max(self, numbers: Sequence[float]) -> list[float]:
        """Return the maximum over all ranks of each number."""
        return self._reduced(numbers, dist.ReduceOp.MAX)

    def broadcast(self, value: Any) -> Any:
        """Return rank 0's value: one message of a kilobyte, and a second one if the value is longer."""
        data = json.dumps(value).encode() if self.rank == 0 else b""
        head = _tensor((len(data).to_bytes(LENGTH, "little") + data)[:HEAD], HEAD)
        with self._exchange():
            dist.broadcast(head, group_src=0, group=self.group)
            received: bytes = head.numpy().tobytes()
            length = int.from_bytes(received[:LENGTH], "little")
            received = received[LENGTH : LENGTH + length]
            if length > HEAD - LENGTH:
                rest = _tensor(data[HEAD - LENGTH :], length - len(received))
                dist.broadcast(rest, group_src=0, group=self.group)
                received += rest.numpy().tobytes()
        return json.loads(received)

    def gather(self, value: Any) -> list[Any]:
        """Return all ranks' values on rank 0, and None on the others."""
        gathered: list[Any] | None = [None] * self.size if self.rank == 0 else None
        with self._exchange():
            dist.gather_object(json.dumps(value), gathered, group=self.group, group_dst=0)
        return [json.loads(text) for text in gathered or ()]

    def put_if_absent(self, name: str, text: str) -> str:
        """Set a key of the job's store if it is not set; return its value."""
        with self._reaching():
            return str(self._store.ask(lambda store: store.compare_set(name, "", text)).decode())

    def get(self, name: str) -> str | None:
        """Return the value of a key of the job's store, None if it is not set; also report that this rank is alive."""

        def read(store: Any) -> str | None:
            if store.check(["trouble"]):
                store.set(f"alive/{self.rank}", "yes")
            return store.get(name).decode() if store.check([name]) else None

        with self._reaching():
            return self._store.ask(read)

    @property
    def closed(self) -> bool:
        """Whether this rank has left the group."""
        return bool(self._closed)

    def close(self) -> None:
        """Leave the group; ranks that wait for this one fail at once."""
        self._close("this rank has left it")

    def _close(self, why: str) -> None:
        if self._closed:
            return
        self._closed = why
        if "group" in self.__dict__ and dist.is_initialized():
            dist.destroy_process_group(self.__dict__.pop("group"))

    @cached_property
    def _store(self) -> BoundedStore:
        """A separate connection to the job's store, under a prefix that no other run and no earlier attempt uses."""
        store: Any = dist.distributed_c10d._get_default_store()
        if hasattr(store, "clone"):  # without it (older torch) a rank that waits on the store blocks these calls
            store = store.clone()
        prefix = f"trainbus/{self.broadcast(secrets.token_hex(8))}"
        return BoundedStore(dist.distributed_c10d.PrefixStore(prefix, store))

    def _reduced(self, numbers: Sequence[float], operation: Any) -> list[float]:
        tensor: Any = torch.tensor(numbers, dtype=torch.float64)
        with self._exchange():
            dist.all_reduce(tensor, op=operation, group=self.group)
        return list(tensor.tolist())

    @contextmanager
    def _exchange(self) -> Generator[None]:
        if self._closed:
            raise RankError(f"the group of ranks is closed: {self._closed}")
        try:
            if "group" not in self.__dict__:
                _ = self.group, self._store
            yield
        except RankError:
            raise
        except RuntimeError as error:  # from gloo or the store
            traceback.clear_frames(error.__traceback__)  # they keep the group alive, and the others wait for its end
            formed = "_store" in self.__dict__
            self._close("one of them has failed")
            why = self._missing() if formed else "the ranks cannot form a gloo group"
            raise RankError(f"{why}: {_first_line(error)}") from error

    @contextmanager
    def _reaching(self) -> Generator[None]:
        try:
            yield
        except RankError:
            raise
        except RuntimeError as error:
            raise RankError(f"the store of the job cannot be reached: {_first_line(error)}") from error

    def _missing(self) -> str:
        """Describe which ranks have failed: those that reported that they left, or else those that do not respond."""
        try:
            self.put_if_absent("trouble", str(self.rank))
            until = time.monotonic() + ROLL_CALL
            while True:
                left = {rank: text for rank in range(self.size) if (text := self.get(f"left/{rank}"))}
                if left:
                    return "; ".join(f"rank {rank} has left: {text}" for rank, text in left.items())
                if verdict := self.get("verdict"):
                    return verdict
                silent = [rank for rank in range(self.size) if self.get(f"alive/{rank}") is None]
                if not silent or time.monotonic() > until:
                    break
                time.sleep(0.1)
        except RankError:
            return "another rank is gone or stopped, and the store of the job with it"
        gone = f"{'rank' if len(silent) == 1 else 'ranks'} {', '.join(map(str, silent))} of {self.size} gone"
        late = f"the ranks did not meet within {self.timeout:g} seconds"
        return self.put_if_absent("verdict", gone if silent else late)


def _tensor(data: bytes, length: int) -> torch.Tensor:
    return torch.frombuffer(bytearray(data.ljust(length, b"\0")), dtype=torch.uint8)


def _first_line(error: BaseException) -> str:
    """Return torch's message without the source location and the advice."""
    return re.sub(r"^\[\S+\] ", "", str(error).strip().partition("\n")[0]).partition(". This is typically")[0]


def warn_of_shared_store() -> None:
    """In a worker that torchrun has restarted, warn that its process group may fail to initialize.

    torchrun lets the workers of all attempts share one store, in which a new attempt may read keys that an earlier one
    has set (pytorch#135712).
    """
    shared = os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True"
    if shared and os.environ.get("TORCHELASTIC_RESTART_COUNT", "0") != "0" and os.environ.get("RANK") == "0":
        logging.getLogger("trainbus").warning(
            "torchrun has restarted its workers and lets them share a store with the earlier attempt; if "
            "init_process_group hangs or fails, start torchrun with TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1 and without "
            "--master-port, with which that variable has no effect (on several machines: --rdzv-backend=c10d "
            "--rdzv-endpoint=HOST:PORT)"
        )
