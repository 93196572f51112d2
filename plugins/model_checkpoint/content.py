"""The option ``content``: a function that returns what a file holds."""

from __future__ import annotations

import inspect
import pickle
from collections.abc import Callable
from typing import Any

from trainbus import SettingsError


def check_content(value: object) -> object:
    """Return the value itself.

    Raises:
        ValueError: It is no function of the run.

    >>> check_content("net")
    Traceback (most recent call last):
        ...
    ValueError: give a function of the run that returns what the file holds, as in lambda run: {"net": ...}
    """
    function: Any = value
    fits = callable(function) and not inspect.iscoroutinefunction(value) and not isinstance(value, type)
    if fits:
        try:
            inspect.signature(function).bind(None)
        except TypeError:
            fits = False
        except ValueError:  # a function of C without a signature
            pass
    if value is not None and not fits:
        raise ValueError('give a function of the run that returns what the file holds, as in lambda run: {"net": ...}')
    return value


def name_of(function: Callable[..., Any]) -> str:
    """Return the name of a function.

    >>> name_of(name_of).rpartition(".")[2]
    'name_of'
    """
    module = getattr(function, "__module__", None) or type(function).__module__
    return f"{module}.{getattr(function, '__qualname__', type(function).__qualname__)}"


class MissingFunction:
    """Takes the place of a function that cannot be pickled.

    Args:
        name: The name of the function.
    """

    def __init__(self, name: str) -> None:
        self.name = name

    def __call__(self, run: object) -> Any:
        """Raise ``SettingsError``."""
        raise SettingsError(
            f"content={self.name} was not pickled with its callback; define the function in a module, outside of others"
        )


def portable(function: Callable[..., Any] | None) -> Callable[..., Any] | None:
    """Return the function if it can be pickled, else something that takes its place."""
    try:
        pickle.dumps(function)
    except Exception:  # noqa: BLE001 - whatever its class raises
        return None if function is None else MissingFunction(name_of(function))
    return function
