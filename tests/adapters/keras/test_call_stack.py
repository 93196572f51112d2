"""The call stack shows which ``fit`` runs a callback."""

from __future__ import annotations

import threading
import weakref
from typing import Any

import keras
import pytest

from trainbus.adapters.keras.call_stack import fit_locals, is_in_use, uses
from trainbus.adapters.shared.call_stack import frames, innermost_self

from .fits import X, Y, fit, line


class Callbacks:
    """An object to refer to in place of Keras's list of callbacks."""


def test_a_call_uses_the_list_that_its_variable_refers_to() -> None:
    """An equal list is another one."""
    callbacks: list[Any] = []
    (frame, *_) = frames()

    assert uses(frame, callbacks)
    assert not uses(frame, [])


def test_a_list_is_in_use_while_any_thread_is_inside_its_fit() -> None:
    """Also a thread other than the one that asks; afterwards, and when it was collected, it is not."""
    entered, leave = threading.Event(), threading.Event()

    def train(callbacks: Callbacks) -> None:
        entered.set()
        leave.wait(30)

    used = Callbacks()
    reference = weakref.ref(used)
    assert not is_in_use(reference)
    thread = threading.Thread(target=train, args=(used,))
    thread.start()
    assert entered.wait(30)
    assert is_in_use(reference)
    leave.set()
    thread.join()
    assert not is_in_use(reference)
    assert not is_in_use(weakref.ref(Callbacks()))


@pytest.mark.parametrize("name", ["fit", "train"])
@pytest.mark.parametrize("option", ["validation_freq", "freq"])
@pytest.mark.parametrize("same", [True, False])
def test_the_variables_of_a_fit_are_those_of_the_function_of_that_name(name: str, option: str, same: bool) -> None:
    """It has validation options and the list of callbacks; any other function has none of its variables read."""
    used, found = Callbacks(), list[Any]()
    namespace: dict[str, Any] = {}
    exec(f"def {name}(callbacks, {option}, look): look()", namespace)
    namespace[name](used, 3, lambda: found.append(dict(fit_locals(used if same else Callbacks()))))

    expected = (name, option, same) == ("fit", "validation_freq", True)
    assert found[0].get("validation_freq") == (3 if expected else None)
    assert bool(found[0]) == expected


@pytest.mark.filterwarnings("ignore:\\s*Your input ran out of data:UserWarning")
def test_keras_keeps_what_is_looked_for_where_it_is_looked_for() -> None:
    """In a hook of a callback, Keras's own list and ``fit`` are found with the arguments of ``fit``."""
    found: list[Any] = []

    class Looks(keras.callbacks.Callback):  # type: ignore[misc]
        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            used = innermost_self(keras.callbacks.CallbackList)
            variables = fit_locals(used)
            found.append((self in used.callbacks, is_in_use(weakref.ref(used)), variables["validation_freq"]))
            assert variables["validation_data"][0] is X

    fit(line(), [Looks()], validation_data=(X, Y), validation_freq=[1, 2])

    assert found == [(True, True, [1, 2])]
    assert innermost_self(keras.callbacks.CallbackList) is None
