"""The options of a run, as a binding takes them from its user."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypedDict

from ..callback import Verbose
from ..resume.script.rates import RateSource
from ..storage.paths import Source


class RunOptions(TypedDict, total=False):
    """The options of ``trainbus.Run``, which documents them, for the signature of a binding: ``Unpack[RunOptions]``."""

    verbose: Verbose | None
    resume: Source | Mapping[str, Any] | None
    resume_strict: bool
    resume_learning_rates: RateSource
    start: Mapping[str, Any] | None
    hparams: Mapping[str, Any] | None
    run_id: str | None
    signals: Iterable[str]
