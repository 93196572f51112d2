"""The options of a run, as a binding takes them from its user."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any, TypedDict

from ..callback import Verbose
from ..errors import SettingsError
from ..failures import LOG
from ..metrics.names import hint_with_list
from ..resume.script.rates import RateSource
from ..run import Run
from ..settings.other_names import ARGUMENTS
from ..storage.paths import AUTO, Source


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


def continues(source: object, last: Run) -> bool:
    """Return whether a further training of a binding continues its last run, and not only the first one resumes.

    Args:
        source: The option ``resume``. With "auto", a run that an error or an interrupt has broken off is continued.
        last: The last run.
    """
    return source == AUTO and (last.error is not None or last.state.interrupted)


def options_of_next(options: Mapping[str, Any], run: Run | None, training: str, instead: str) -> dict[str, Any]:
    """Return the options of a binding's next run: those that say where a run begins are for the first one.

    Args:
        options: The options of the binding.
        run: The last run; None before the first.
        training: What the framework calls a training, such as "fit()".
        instead: What the user does to continue an earlier run, for the line in the log.
    """
    given = dict(options)
    if run is None:
        return given
    source = given.get("resume")
    if source is not None and not continues(source, run):
        if run.rank == 0:
            LOG.warning(
                "resume=%r was used in the first %s: this one is a new run; to continue the earlier run, %s",
                source,
                training,
                instead,
            )
        given["resume"] = None
    return {**given, "start": None}


def check_options(binding: str, options: Collection[str], own: Collection[str] = ()) -> None:
    """Refuse arguments that a run does not take, when the binding is made: its run begins later.

    Args:
        binding: The name of the binding.
        options: The names of the arguments beside those in its signature.
        own: The names in its signature, for the message.

    Raises:
        SettingsError: There is another one; the message names the nearest.

    >>> check_options("MyCallback", ["resum"], ["callbacks"])
    Traceback (most recent call last):
        ...
    trainbus.errors.SettingsError: MyCallback: unknown argument 'resum'; did you mean 'resume'? arguments: callbacks, \
verbose, resume, resume_strict, resume_learning_rates, start, hparams, run_id, signals
    """
    known = [*own, *RunOptions.__annotations__]
    for name in options:
        if name not in known:
            meant = ARGUMENTS.get(name)
            hint = hint_with_list(meant if meant in known else name, known, "arguments")
            raise SettingsError(f"{binding}: unknown argument {name!r}{hint}")
