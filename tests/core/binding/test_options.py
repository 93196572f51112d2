"""The options that bindings take are those of a run."""

from __future__ import annotations

import inspect
from typing import get_type_hints

from trainbus import Run
from trainbus.binding import RunOptions


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
