"""Find the subject for a model, and explain why an object cannot be trained."""

from __future__ import annotations

import importlib.metadata
import inspect
import sys
from collections.abc import Iterable, Mapping
from textwrap import shorten
from typing import Any, cast

from .. import capabilities
from ..callback import Callback
from ..capabilities import (
    ChecksState,
    HasLearningRate,
    HasStateDict,
    Node,
    PartWriters,
    Ranks,
    Saveable,
    Snapshotable,
    has,
)
from ..errors import SettingsError
from ..hooks import implements_hooks
from ..terminal.text import shown
from .arguments import mismatch
from .registry import installed, load

_CAPABILITIES: tuple[type, ...] = tuple(
    each
    for each in (getattr(capabilities, name) for name in capabilities.__all__)
    if inspect.isclass(each) and each not in (ChecksState, HasStateDict, Node, PartWriters, Ranks)
)
"""The capabilities of subjects, except for ``state_dict``, since models and plugins have that, too."""

_ESSENTIAL = (HasLearningRate, Saveable, Snapshotable)
"""The capabilities of a subject that an adapter makes for a model."""


def adapter_of(model: object) -> importlib.metadata.EntryPoint | None:
    """Return the entry point of the adapter for a model's type, without importing it; None if there is none.

    The entry point of an adapter has the name of the package whose types it adapts. The first class in the model's MRO
    whose package has an adapter decides, so a Keras model that is also a torch module gets the Keras adapter.
    """
    known = installed("adapters")
    packages = (ancestor.__module__.partition(".")[0] for ancestor in type(model).__mro__)
    return next((known[package] for package in packages if package in known), None)


def binding_of(candidate: object) -> importlib.metadata.EntryPoint | None:
    """Return the entry point of the binding for an object that trains by itself, without importing it; None if none.

    The entry point of a binding has the name of the package whose training it joins. A model that another framework's
    loop may train, too, such as a torch module of Hugging Face Transformers, has an adapter and no ``fit``: it is not
    such an object.
    """
    adapters, bindings = installed("adapters"), installed("bindings")
    packages = [ancestor.__module__.partition(".")[0] for ancestor in type(candidate).__mro__]
    known = next((package for package in packages if package in adapters or package in bindings), "")
    own_model = adapter_of(candidate) is not None and not callable(getattr(type(candidate), "fit", None))
    return None if known in adapters or own_model else bindings.get(known)


def subject_for(model: object, rest: Iterable[Any], options: Mapping[str, Any], more: Iterable[str] = ()) -> object:
    """Make the subject for a model with the adapter for its type; return a subject unchanged.

    Args:
        model: The model.
        rest: Further positional arguments for the adapter, such as an optimizer.
        options: Keyword arguments for the adapter.
        more: Names of other arguments of ``watch``, for messages.

    Raises:
        SettingsError: The adapter does not take the arguments, or the object is neither a model nor a subject.
    """
    callback = next((each for each in (model, *rest) if is_callback(each)), None)
    if callback is not None:
        raise SettingsError(
            f"watch takes callbacks by name, and {describe(callback)} is given by position; "
            "write watch(model, optimizer, callbacks=callbacks)"
        )
    if model is None:
        raise SettingsError("watch needs a model; write Run(callbacks=callbacks) for a loop that only has numbers")
    if not isinstance(model, type) and (binding := binding_of(model)) is not None:
        raise SettingsError(_use_binding(model, binding))
    point = None if isinstance(model, type) else adapter_of(model)
    adapter = load("adapters", point.name) if point else _subject_itself
    if point is None:
        check_subject(model)
    why = mismatch(adapter, (model, *rest), options, "watch", more=more)
    if why:
        raise SettingsError(why)
    return adapter(model, *rest, **options)


def _subject_itself(model: object) -> object:
    """Return the subject unchanged; the signature has no further parameters, since a subject needs no adapter."""
    return model


def is_subject(candidate: object) -> bool:
    """Return whether an object has a capability that callbacks may need.

    A model of a framework with an adapter may have a method with the same name by chance, for example ``graph``.
    """
    if isinstance(candidate, type):
        return False
    needed: tuple[type, ...] = _CAPABILITIES if adapter_of(candidate) is None else _ESSENTIAL
    for each in needed:  # noqa: SIM110 - the type of a generator of type guards is unknown to pyright
        if has(candidate, each):
            return True
    return False


def is_callback(candidate: object) -> bool:
    """Return whether an object is valid in a list of callbacks, or is a list of callbacks."""
    if isinstance(candidate, (list, tuple, set)):
        return any(map(is_callback, cast("Iterable[object]", candidate)))
    kind = candidate if isinstance(candidate, type) else type(candidate)
    return issubclass(kind, Callback) or (implements_hooks(candidate) and not is_subject(candidate))


def check_subject(candidate: object) -> None:
    """Raise an error if a run cannot train an object; the message says what to pass instead.

    Args:
        candidate: The object; None for a run without a subject.

    Raises:
        SettingsError: The object is not a subject.
    """
    if candidate is not None and not is_subject(candidate):
        raise SettingsError(_why_no_subject(candidate))


def _why_no_subject(candidate: object) -> str:
    what = describe(candidate)
    if is_callback(candidate):
        return (
            f"{what} is given as the subject; write Run(subject, callbacks), or Run(callbacks=callbacks) for a loop "
            "without a model"
        )
    if isinstance(candidate, type):
        return f"{what} is given as the subject; give an object of it: {candidate.__name__}(...)"
    if (binding := binding_of(candidate)) is not None:
        return _use_binding(candidate, binding)
    point = adapter_of(candidate)
    if point is not None:
        optimizer = ", optimizer" if point.name == "torch" else ""
        return (
            f"{what} is not a subject; write Run({point.attr}(model{optimizer}), callbacks) with {point.attr} from "
            f"{point.module}, or trainbus.watch(model{optimizer}, callbacks=callbacks)"
        )
    known, bound = (", ".join(installed(each)) or "no framework" for each in ("adapters", "bindings"))
    return (
        f"{what} is not a subject; give the subject of an adapter (there are adapters for {known}), an object of "
        "your own with the methods of trainbus.capabilities, or None for a loop that only has numbers; in a training "
        f"by a framework's own function, use its binding (there are bindings for {bound})"
    )


def _use_binding(candidate: object, binding: importlib.metadata.EntryPoint) -> str:
    """Say what to write in place of a subject, as the module of a binding has it in ``USAGE``."""
    load("bindings", binding.name)
    usage = getattr(sys.modules.get(binding.module), "USAGE", f"{binding.attr}(callbacks)")
    return f"{describe(candidate)} is not a subject; write {usage}, with {binding.attr} from {binding.module}"


def describe(candidate: object) -> str:
    """Describe an object for a message: by its value if that is short, as a class, or by its type.

    >>> describe("abc"), describe(dict), describe([1]), describe(object())
    ("'abc'", 'the class dict', 'a list', 'an object')
    """
    if candidate is None or isinstance(candidate, (str, int, float)):
        return shorten(shown(candidate), 60, placeholder="...")
    if isinstance(candidate, type):
        return f"the class {candidate.__name__}"
    name = type(candidate).__name__
    return f"{'an' if name[0] in 'AEIOUaeiou' else 'a'} {name}"
