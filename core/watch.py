"""Make a run for a model with the adapter for its type."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from .engine.signals import DEFAULT
from .run import Run
from .settings.plugin_list import CallbackLike
from .settings.registry import subject_for
from .storage.paths import Source


def watch(
    model: object,
    *rest: Any,
    callbacks: CallbackLike | Sequence[CallbackLike] = (),
    resume: Source | None = None,
    resume_strict: bool = False,
    signals: Iterable[str] = DEFAULT,
    **options: Any,
) -> Run:
    """Make a run for `model` with the installed adapter for its type.

    ::

        with trainbus.watch(model, optimizer, callbacks=callbacks, resume="auto") as run:
            ...

    Args:
        model: A model of a framework that has an adapter, or a subject.
        rest: Further arguments of the adapter, such as PyTorch's optimizers.
        callbacks: As in `Run`.
        resume: As in `Run`.
        resume_strict: As in `Run`.
        signals: As in `Run`.
        options: Options of the adapter, by keyword.
    """
    subject = subject_for(model, *rest, **options)
    return Run(subject, callbacks, resume=resume, resume_strict=resume_strict, signals=signals)
