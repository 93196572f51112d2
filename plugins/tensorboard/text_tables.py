"""Tables for TensorBoard's text page: the settings and the environment of a run, in Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from trainbus import Run

from ..environment import environment

_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}
"""What HTML writes for its own characters: Markdown leaves tags in the text, and a browser would load their images."""
_ESCAPES = str.maketrans(_ENTITIES | {each: f"\\{each}" for each in "|*_`[]{}!\\"})


def table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    r"""Return a Markdown table; special characters are escaped, and each cell is one line.

    >>> print(table(["name", "value"], [["a|b", 1]]))
    | name | value |
    | --- | --- |
    | a\|b | 1 |
    """
    lines = [list(header), ["---"] * len(header), *([_cell(each) for each in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(value: object) -> str:
    return " ".join(str(value).split()).translate(_ESCAPES)


def settings_table(run: Run) -> str:
    """Return a table of every option of every callback."""
    options = {name: callback.settings() for name, callback in run.callbacks.items()}
    rows = [[name, *each] for name, given in options.items() for each in given.items() if each[0] != "callback"]
    return table(["callback", "option", "value"], rows)


def environment_table(run: Run) -> str:
    """Return a table of the subject, the machine, the process, and the versions of all packages that are imported."""
    trained = "nothing" if run.subject is None else type(run.subject).__name__
    plan = run.state.plan
    planned = {"epochs" if plan.unit == "epoch" else "steps": "unknown" if plan.total is None else plan.total}
    return table(["", ""], {"trained": trained, **planned, **environment()}.items())
