"""The store of a ``torch.distributed`` job, whose calls end in time even if the process that keeps it is stopped."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, TypeVar, cast

from trainbus import RankError

T = TypeVar("T")

PATIENCE = 10.0
"""Seconds within which the store answers, or counts as silent until it does."""


class _Question:
    """A call of the store that waits for its answer."""

    def __init__(self, call: Callable[[Any], object]) -> None:
        self.call = call
        self.ended = threading.Event()
        self.answered = False
        self.answer: Any = None
        self.error: Exception | None = None


class BoundedStore:
    """Calls a store in a thread of its own: torch's stores wait without end for a process that is stopped.

    Args:
        store: The connection to the store; nothing else may use it.
        patience: Seconds to wait for an answer.
    """

    def __init__(self, store: Any, patience: float = PATIENCE) -> None:
        self._patience = patience
        self._questions: SimpleQueue[_Question | None] = SimpleQueue()
        self._waiting: set[_Question] = set()
        self._lock = threading.Lock()
        # a daemon: the exit of the process does not wait for a store that never answers
        thread = threading.Thread(target=_answer, args=(store, self._questions), name="trainbus-store", daemon=True)
        thread.start()
        weakref.finalize(self, _end, thread, self._questions, self._waiting)

    def ask(self, call: Callable[[Any], T]) -> T:
        """Return what ``call`` returns for the store; may be called from any thread.

        Raises:
            RankError: The store does not answer.
        """
        question = _Question(call)
        with self._lock:
            self._waiting.difference_update([each for each in self._waiting if each.answered])
            if any(each.ended.is_set() for each in self._waiting):  # an earlier question has no answer yet
                raise _silence()
            self._waiting.add(question)
            self._questions.put(question)
        question.ended.wait(self._patience)
        with self._lock:
            if not question.answered:
                for each in self._waiting:
                    each.ended.set()
                raise _silence()
            self._waiting.discard(question)
        if question.error is not None:
            raise question.error
        return cast("T", question.answer)


def _answer(store: Any, questions: SimpleQueue[_Question | None]) -> None:
    while (question := questions.get()) is not None:
        try:
            question.answer = question.call(store)
        except Exception as error:  # noqa: BLE001 - raised in the thread that asks
            question.error = error
        question.answered = True
        question.ended.set()
        del question


def _end(thread: threading.Thread, questions: SimpleQueue[_Question | None], waiting: set[_Question]) -> None:
    """End the thread; wait until it has deleted the store, unless the store is silent.

    Torch deletes a store without the GIL. If the interpreter ends meanwhile, the process is aborted.
    """
    questions.put(None)
    if thread is not threading.current_thread() and all(each.answered for each in waiting):
        thread.join(PATIENCE)


def _silence() -> RankError:
    return RankError("the process that keeps the job's store (rank 0, or torchrun) is stopped or cannot be reached")
