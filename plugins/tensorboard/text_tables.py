"""What a run was asked for and where it ran, as tables."""

from __future__ import annotations

from trainbus import Run

from ..environment import environment as facts
from .markdown import table


def settings(run: Run) -> str:
    """Every option of every callback."""
    options = {name: callback.settings() for name, callback in run.callbacks.items()}
    rows = [[name, *each] for name, given in options.items() for each in given.items() if each[0] != "callback"]
    return table(["callback", "option", "value"], rows)


def environment(run: Run) -> str:
    """What is trained, machine, process, and the version of each package that this run has imported."""
    trained = "nothing" if run.subject is None else type(run.subject).__name__
    epochs = "unknown" if run.planned_epochs is None else run.planned_epochs
    return table(["", ""], {"trained": trained, "epochs": epochs, **facts()}.items())
