"""What a Protocol declares, and whether an implementation can be called as it declares."""

from __future__ import annotations

import inspect
from typing import Any

from typing_extensions import get_protocol_members

from trainbus.adapters.keras import KerasSubject
from trainbus.adapters.sklearn import SklearnSubject
from trainbus.adapters.torch import TorchSubject
from trainbus.testing import LineSubject

SUBJECTS: tuple[type, ...] = (LineSubject, SklearnSubject, TorchSubject, KerasSubject)
"""The subjects of trainbus itself."""


def implementers(capability: type) -> list[type]:
    """Return trainbus's subjects that have every method of a Protocol."""
    members = get_protocol_members(capability)
    return [kind for kind in SUBJECTS if all(getattr(kind, name, None) is not None for name in members)]


def assert_takes_declared_arguments(kind: type, protocol: type) -> None:
    """Assert that each method of a class takes what the Protocol declares: by position, or by name where it says so.

    ``isinstance`` and ``has`` compare only the names of the methods.
    """
    for name in get_protocol_members(protocol):
        declared: Any = inspect.getattr_static(protocol, name)
        if isinstance(declared, property):
            continue
        parameters = inspect.signature(declared).parameters.values()
        by_position = [None for each in parameters if each.kind is not each.KEYWORD_ONLY]
        by_name = {each.name: None for each in parameters if each.kind is each.KEYWORD_ONLY}
        inspect.signature(getattr(kind, name)).bind(*by_position, **by_name)


def with_methods(*names: str) -> object:
    """Return an object whose class has exactly these methods."""
    return type("Partial", (), {name: lambda self, *given, **named: None for name in names})()
