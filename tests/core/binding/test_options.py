"""The options that bindings take are those of a run."""

from __future__ import annotations

import inspect
import re
from typing import Any, get_type_hints

import pytest

from trainbus import LoopError, Run, SettingsError
from trainbus.binding import RunOptions, check_options, continues, options_of_next


def test_they_are_the_keywords_of_a_run() -> None:
    """With the same types."""
    keywords = {
        name
        for name, each in inspect.signature(Run.__init__).parameters.items()
        if each.kind is inspect.Parameter.KEYWORD_ONLY
    }
    assert set(RunOptions.__annotations__) == keywords
    of_run, own = get_type_hints(Run.__init__), get_type_hints(RunOptions)
    assert {name: of_run[name] for name in keywords} == own


@pytest.mark.parametrize(
    ("option", "meant"),
    [
        ("resum", "resume"),
        ("resume_from_checkpoint", "resume"),
        ("ckpt_path", "resume"),
        ("progress_bar", "verbose"),
        ("hparam", "hparams"),
        ("runid", "run_id"),
        ("prob", "probe"),
        ("plugins", "callbacks"),
    ],
)
def test_another_argument_is_refused_with_the_nearest_name(option: str, meant: str) -> None:
    """Also under the names of other libraries."""
    with pytest.raises(
        SettingsError, match=re.escape(f"Binding: unknown argument {option!r}; did you mean {meant!r}?")
    ):
        check_options("Binding", [*RunOptions.__annotations__, option], ["callbacks", "probe"])


def test_the_arguments_of_a_run_and_those_of_the_binding_are_taken() -> None:
    check_options("Binding", [*RunOptions.__annotations__, "probe"], ["callbacks", "probe"])


def test_only_auto_continues_and_only_what_was_broken_off() -> None:
    """A path names one moment, and a run that has ended in order is not continued by a further training."""

    def ended(error: BaseException | None) -> Run:
        run = Run(verbose=0)
        run.begin()
        run.end(error)
        return run

    ways = [(source, error) for source in (None, "m.pt", "auto") for error in (None, ValueError("no"))]
    assert [continues(source, ended(error)) for source, error in ways] == [False] * 5 + [True]


@pytest.mark.parametrize("resume", [None, "auto", "m.npz"])
@pytest.mark.parametrize("ended", [True, False])
def test_where_a_run_begins_is_an_option_of_the_first_one(
    resume: Any, ended: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """But a run that was broken off is continued by resume="auto"."""
    given = {"resume": resume, "start": {"epoch": 3}, "verbose": 0}
    assert options_of_next(given, None, "fit()", "make a new one") == given
    run = Run(verbose=0)
    run.begin()
    run.end(None if ended else LoopError("broken off"))
    continued = resume == "auto" and not ended

    found = options_of_next(given, run, "fit()", "make a new one")

    assert found == {"resume": resume if continued else None, "start": None, "verbose": 0}
    line = f"resume={resume!r} was used in the first fit(): this one is a new run; to continue the earlier run, make"
    assert (line in caplog.text) is (resume is not None and not continued)
