"""What a run was asked for and where it ran, as tables."""

from __future__ import annotations

import os
import platform
import sys
from importlib.metadata import PackageNotFoundError, version

from trainbus import Run

from .markdown import table

__all__ = ["environment", "settings"]

_PACKAGES = {
    "trainbus": "trainbus",
    "numpy": "numpy",
    "torch": "torch",
    "keras": "keras",
    "jax": "jax",
    "tensorflow": "tensorflow",
    "sklearn": "scikit-learn",
    "tensorboardX": "tensorboardX",
}
"""Name under which it is imported to the name of the package."""


def settings(run: Run) -> str:
    """Every option of every callback."""
    options = {name: callback.settings() for name, callback in run.callbacks.items()}
    rows = [[name, *each] for name, given in options.items() for each in given.items() if each[0] != "callback"]
    return table(["callback", "option", "value"], rows)


def environment(run: Run) -> str:
    """Machine, process, and the version of each package that this run has imported."""
    versions = {package: _version(package) for module, package in _PACKAGES.items() if module in sys.modules}
    facts = {
        "trained": "nothing" if run.subject is None else type(run.subject).__name__,
        "epochs": "unknown" if run.planned_epochs is None else run.planned_epochs,
        "host": platform.node(),
        "process": os.getpid(),
        "processors": os.cpu_count(),
        "platform": platform.platform(),
        "Python": platform.python_version(),
        **versions,
    }
    return table(["", ""], facts.items())


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "unknown"
