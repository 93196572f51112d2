"""The processes of a `torch.distributed` job, and how they talk to each other beside the training."""

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
from torch.distributed import distributed_c10d

from trainbus import RankError

__all__ = ["TorchRanks", "warn_of_shared_store"]

HEAD = 1024
"""Bytes of a broadcast that are sent at once; what is longer follows."""
LENGTH = 8
"""Bytes that tell how long a message is."""
ROLL_CALL = 3.0
"""Seconds in which a rank that lives answers when another has failed."""


class TorchRanks:
    """The ranks of the default process group, which talk by a gloo group of their own.

    So nothing here can meet a collective of the training, whatever its backend, and no device waits. The group is made
    at the first exchange, which all ranks reach together.

    Args:
        timeout: seconds that one rank waits for the others.
    """

    def __init__(self, timeout: float) -> None:
        self.rank = dist.get_rank()
        self.size = dist.get_world_size()
        self.timeout = timeout
        self._closed = ""

    @cached_property
    def group(self) -> Any:
        """The gloo group, for whatever else is to be exchanged beside the training, by all ranks in the same order."""
        return dist.new_group(backend="gloo", timeout=timedelta(seconds=self.timeout))

    def all_reduce_sum(self, numbers: Sequence[float]) -> list[float]:
        """The sums over all ranks, the same to the bit on each of them."""
        return self._reduced(numbers, dist.ReduceOp.SUM)

    def all_reduce_max(self, numbers: Sequence[float]) -> list[float]:
        """The largest of all ranks."""
        return self._reduced(numbers, dist.ReduceOp.MAX)

    def broadcast(self, value: Any) -> Any:
        """The value of rank 0: one message of a kilobyte, and a second one where that does not hold it."""
        data = json.dumps(value).encode() if self.rank == 0 else b""
        head = _tensor(_message(data)[:HEAD], HEAD)
        with self._exchange():
            dist.broadcast(head, group_src=0, group=self.group)
            received: bytes = head.numpy().tobytes()
            length = _length(received)
            received = received[LENGTH : LENGTH + length]
            if length > HEAD - LENGTH:
                rest = _tensor(data[HEAD - LENGTH :], length - len(received))
                dist.broadcast(rest, group_src=0, group=self.group)
                received += rest.numpy().tobytes()
        return json.loads(received)

    def gather(self, value: Any) -> list[Any]:
        """On rank 0 the values of all ranks: one reduction for the longest, then one message each."""
        data = _message(json.dumps(value).encode())
        longest = int(self.all_reduce_max([len(data)])[0])
        mine: Any = _tensor(data, longest)
        places: Any = [torch.empty_like(mine) for _ in range(self.size)] if self.rank == 0 else None
        with self._exchange():
            dist.gather(mine, places, group_dst=0, group=self.group)
        messages: list[bytes] = [place.numpy().tobytes() for place in places or ()]
        return [json.loads(message[LENGTH : LENGTH + _length(message)]) for message in messages]

    def put_if_absent(self, name: str, text: str) -> str:
        """Put up a note in the job's store; the first one of a name stays."""
        with self._reaching():
            return str(self._store.compare_set(name, "", text).decode())

    def get(self, name: str) -> str | None:
        """The note of this name, None where there is none; whoever looks also answers a roll call."""
        with self._reaching():
            if self._store.check(["trouble"]):
                self._store.set(f"alive/{self.rank}", "yes")
            return self._store.get(name).decode() if self._store.check([name]) else None

    @property
    def closed(self) -> bool:
        """Whether nothing is exchanged any more."""
        return bool(self._closed)

    def close(self) -> None:
        """Leave the group: whoever waits for this rank in it learns so at once."""
        self._close("this rank has left it")

    # --- inner workings

    def _close(self, why: str) -> None:
        if self._closed:
            return
        self._closed = why
        if "group" in self.__dict__ and dist.is_initialized():
            dist.destroy_process_group(self.__dict__.pop("group"))

    @cached_property
    def _store(self) -> Any:
        """A connection of its own to the job's store, under a name that no other run and no earlier attempt has."""
        store: Any = distributed_c10d._get_default_store()
        if hasattr(store, "clone"):  # with older torch, whoever waits for the store keeps the notes waiting
            store = store.clone()
        return distributed_c10d.PrefixStore(f"trainbus/{self.broadcast(secrets.token_hex(8))}", store)

    def _reduced(self, numbers: Sequence[float], operation: Any) -> list[float]:
        tensor: Any = torch.tensor(numbers, dtype=torch.float64)
        with self._exchange():
            dist.all_reduce(tensor, op=operation, group=self.group)
        return list(tensor.tolist())

    @contextmanager
    def _exchange(self) -> Generator[None]:
        if self._closed:
            raise RankError(f"the ranks exchange nothing any more: {self._closed}")
        try:
            if "group" not in self.__dict__:
                _ = self.group, self._store
            yield
        except RankError:
            raise
        except RuntimeError as error:  # of gloo, and of the store
            traceback.clear_frames(error.__traceback__)  # they hold the group, whose end the others wait for
            formed = "_store" in self.__dict__
            self._close("one of them has failed")
            why = self._missing() if formed else "the ranks cannot form a group of their own"
            raise RankError(f"{why}: {_first_line(error)}") from error

    @contextmanager
    def _reaching(self) -> Generator[None]:
        try:
            yield
        except RuntimeError as error:
            raise RankError(f"the store of the job cannot be reached: {_first_line(error)}") from error

    def _missing(self) -> str:
        """Who has failed, as far as can be told: those that have said so, or else those that do not answer."""
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
            return "another rank is gone, and with it the store of the job"
        gone = f"{'rank' if len(silent) == 1 else 'ranks'} {', '.join(map(str, silent))} of {self.size} gone"
        late = f"the ranks did not come together within {self.timeout:g} seconds"
        return self.put_if_absent("verdict", gone if silent else late)


def _message(data: bytes) -> bytes:
    return len(data).to_bytes(LENGTH, "little") + data


def _length(message: bytes) -> int:
    return int.from_bytes(message[:LENGTH], "little")


def _tensor(data: bytes, length: int) -> torch.Tensor:
    return torch.frombuffer(bytearray(data.ljust(length, b"\0")), dtype=torch.uint8)


def _first_line(error: BaseException) -> str:
    """What torch says, without the place in its sources and its advice."""
    return re.sub(r"^\[\S+\] ", "", str(error).strip().partition("\n")[0]).partition(". This is typically")[0]


def warn_of_shared_store() -> None:
    """Say, in a worker that torchrun has started again, what may keep its process group from forming.

    torchrun lets the workers of all attempts share one store, in which a new attempt may read what an earlier one has
    left (pytorch#135712).
    """
    shared = os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True"
    if shared and os.environ.get("TORCHELASTIC_RESTART_COUNT", "0") != "0" and os.environ.get("RANK") == "0":
        logging.getLogger("trainbus").warning(
            "torchrun has started its workers again, and lets them share a store with those before: where "
            "init_process_group hangs or fails now, start torchrun with TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1"
        )
