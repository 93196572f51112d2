"""Make a run for a model of any supported framework."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from .callback import Verbose
from .engine.stopping.signals import DEFAULT
from .resume.script.rates import RateSource
from .run import Run
from .settings.arguments import checked
from .settings.plugin_list import CallbackLike
from .settings.subjects import subject_for
from .storage.paths import Source

_OPTIONS = (
    "callbacks",
    "verbose",
    "resume",
    "resume_strict",
    "resume_learning_rates",
    "start",
    "hparams",
    "run_id",
    "signals",
)
"""The arguments of ``watch`` that no adapter gets."""


@checked("watch")
def watch(
    model: object,
    *rest: Any,
    callbacks: CallbackLike | Sequence[CallbackLike] = (),
    verbose: Verbose | None = None,
    resume: Source | None = None,
    resume_strict: bool = False,
    resume_learning_rates: RateSource = "checkpoint",
    start: Mapping[str, Any] | None = None,
    hparams: Mapping[str, Any] | None = None,
    run_id: str | None = None,
    signals: Iterable[str] = DEFAULT,
    **options: Any,
) -> Run:
    """Return a run for ``model``, using the installed adapter for its type.

    ::

        with trainbus.watch(model, optimizer, callbacks=callbacks, resume="auto") as run:
            ...

    Args:
        model: A model of a framework that has an adapter, or a subject.
        rest: Further arguments of the adapter, such as PyTorch's optimizers.
        callbacks: As for ``Run``.
        verbose: As for ``Run``.
        resume: As for ``Run``.
        resume_strict: As for ``Run``.
        resume_learning_rates: As for ``Run``.
        start: As for ``Run``.
        hparams: As for ``Run``.
        run_id: As for ``Run``.
        signals: As for ``Run``.
        options: Keyword arguments of the adapter.

    Returns:
        A run whose subject is the adapter of ``model``, or ``model`` itself if it is a subject.

    Raises:
        SettingsError: No adapter accepts these arguments, or one of them is wrong.
        MissingDependency: The adapter needs a package that is not installed.

    >>> from trainbus.testing import LineSubject
    >>> run = watch(LineSubject())
    >>> type(run.subject).__name__
    'LineSubject'
    """
    subject = subject_for(model, rest, options, _OPTIONS)
    return Run(
        subject,
        callbacks,
        verbose=verbose,
        resume=resume,
        resume_strict=resume_strict,
        resume_learning_rates=resume_learning_rates,
        start=start,
        hparams=hparams,
        run_id=run_id,
        signals=signals,
    )
