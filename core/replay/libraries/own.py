"""trainbus's own rules."""

from __future__ import annotations

from math import inf
from typing import Any

from trainbus.plugins import EarlyStopping, ReduceLROnPlateau
from trainbus.plugins.comparison import better_arguments
from trainbus.rules import Patience, Plateau, early_stopping_rule, plateau_rule, torch_plateau_rule

from .library import Arguments, Library, RuleSpec, bound_of, pick


def _trainbus_stopping(options: Arguments, sign: int) -> dict[str, Any]:
    return {
        **pick(options, "patience", "start_from_epoch", "check_finite", "min_epochs", "min_steps"),
        **better_arguments(options),
        "baseline": bound_of(options, "baseline", sign, none=-inf),
        "stopping_threshold": bound_of(options, "stopping_threshold", sign, none=inf),
        "divergence_threshold": bound_of(options, "divergence_threshold", sign, none=-inf),
    }


def _trainbus_plateau(options: Arguments, _: int) -> dict[str, Any]:
    return {**pick(options, "patience", "cooldown"), **better_arguments(options)}


TRAINBUS = Library(
    "trainbus",
    "trainbus",
    RuleSpec(EarlyStopping, early_stopping_rule, Patience(), _trainbus_stopping),
    RuleSpec(
        ReduceLROnPlateau,
        plateau_rule,
        Plateau(),
        _trainbus_plateau,
        takes_reducible=True,
        alternatives={"torch": torch_plateau_rule},
    ),
)
