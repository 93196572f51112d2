"""The settings of each library's callbacks, and the rules that they configure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from trainbus import Callback, MonitoredCallback, SettingsError
from trainbus.callback.option_errors import joined
from trainbus.metrics.names import hint
from trainbus.plugins import EarlyStopping, ModelCheckpoint, ReduceLROnPlateau

from .huggingface import HUGGINGFACE
from .ignite import IGNITE
from .keras import KERAS
from .library import Library
from .lightning import LIGHTNING
from .own import TRAINBUS
from .torch import TORCH

LIBRARIES: Final[Mapping[str, Library]] = {
    each.name: each for each in (TRAINBUS, KERAS, TORCH, LIGHTNING, IGNITE, HUGGINGFACE)
}
_NAMES: Final[Mapping[type[Callback], str]] = {
    spec.settings: name
    for each in LIBRARIES.values()
    for spec, name in (
        (each.stopping, "EarlyStopping"),
        (each.plateau, "ReduceLROnPlateau"),
        (each.checkpoints, "ModelCheckpoint"),
    )
    if spec is not None
}
_SYNONYMS: Final = {
    "min_delta": ("threshold", "early_stopping_threshold"),
    "min_delta_mode": ("threshold_mode",),
    "cumulative_delta": ("cumulative",),
    "patience": ("early_stopping_patience",),
}
_NO_EFFECT: Final = frozenset(
    {
        *("verbose", "restore_best_weights", "strict", "log_rank_zero_only", "check_on_train_epoch_end"),
        *("save_on_train_epoch_end", "save_on_exception", "save_only_model"),
    }
)
"""Options that do not affect when a library stops or saves; ``build`` omits those that the settings do not have."""


def find_library(name: str) -> Library:
    """Return the library with this name.

    Raises:
        SettingsError: No library has this name.

    >>> find_library("kears")
    Traceback (most recent call last):
        ...
    trainbus.errors.SettingsError: unknown library 'kears'; choose from trainbus, keras, torch, lightning, ignite, hf; \
did you mean 'keras'?
    """
    if name not in LIBRARIES:
        known = ", ".join(LIBRARIES)
        raise SettingsError(f"unknown library {name!r}; choose from {known}{hint(name, LIBRARIES, otherwise='')}")
    return LIBRARIES[name]


def translate(library: Library, callback: Callback) -> Callback:
    """Convert a trainbus callback to the options of this library; return other callbacks unchanged.

    Raises:
        SettingsError: An option is set that the library does not have.

    >>> translate(LIBRARIES["torch"], ReduceLROnPlateau(patience=2, min_delta=0.1)).threshold
    0.1
    """
    kind = None
    if type(callback) is EarlyStopping:
        kind = library.stopping.settings
    elif type(callback) is ReduceLROnPlateau:
        kind = library.plateau.settings
    elif type(callback) is ModelCheckpoint and library.checkpoints is not None:
        return build_checkpoints(callback.model_dump(exclude_unset=True), library)
    return callback if kind in (None, type(callback)) else build(kind, callback.model_dump(exclude_unset=True), library)


def build_checkpoints(options: Mapping[str, Any], library: Library) -> MonitoredCallback:
    """Return the checkpoint callback that follows the rules of a library.

    Args:
        options: The options by name, those of the library or those of trainbus's ModelCheckpoint.
        library: The library.

    Raises:
        SettingsError: An option is wrong, or the library does not have it.

    >>> build_checkpoints({"filepath": "best", "save_best_only": True}, LIBRARIES["hf"]).save_strategy
    'best'
    """
    if library.checkpoints is None:
        named: dict[str, Any] = {"filepath": "checkpoint", **options}
        return ModelCheckpoint(**named)
    return build(library.checkpoints.settings, library.checkpoints.translated(options), library)


def name_of(kind: type[Callback]) -> str:
    """Return the name of a callback, which is the same in every library.

    >>> [name_of(each) for each in (KERAS.stopping.settings, TORCH.plateau.settings, Callback)]
    ['EarlyStopping', 'ReduceLROnPlateau', 'Callback']
    """
    return _NAMES.get(kind, kind.__name__)


def option_of(kind: type[MonitoredCallback], name: str) -> str:
    """Return the name that an option of trainbus's callback has in this class; the name itself if it has none.

    >>> option_of(IGNITE.stopping.settings, "min_delta"), option_of(KERAS.stopping.settings, "min_delta_mode")
    ('threshold', 'min_delta_mode')
    """
    if name in kind.model_fields:
        return name
    return next((each for each in _SYNONYMS.get(name, ()) if each in kind.model_fields), name)


def required_by(kind: type[MonitoredCallback]) -> dict[str, Any]:
    """Return a value for each option that a callback of this class must have."""
    return {name: 1 for name, field in kind.model_fields.items() if field.is_required()}


def build(kind: type[MonitoredCallback], options: Mapping[str, Any], library: Library) -> MonitoredCallback:
    """Return a callback of this class; ``min_delta`` sets the option ``threshold`` if the class has that option.

    Args:
        kind: The class.
        options: The options by name.
        library: The library of the class.

    Raises:
        SettingsError: An option is wrong or unknown; the message names it as it is given.
    """
    known = kind.model_fields
    renamed = {option_of(kind, name): value for name, value in options.items()}
    try:
        return kind(**{name: value for name, value in renamed.items() if name in known or name not in _NO_EFFECT})
    except SettingsError as error:
        if not error.problems:
            raise
        given = {option_of(kind, name): name for name in options}
        problems = [(place, _as_given(why, place, given)) for place, why in error.problems]
        name = name_of(kind)
        owner = name if kind.__name__ == name else f"{name} of {library.title}"
        raise joined(owner, problems) from None


def _as_given(why: str, place: Sequence[str | int], given: Mapping[str, str]) -> str:
    """Return a problem with the name of the option as it is given."""
    name = str(place[0]) if place else ""
    return f"{given[name]}{why.removeprefix(name)}" if name in given and why.startswith(name) else why
