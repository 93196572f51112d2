"""The environment of a run: its machine, its process, and the versions of the packages that it uses."""

from __future__ import annotations

import os
import platform
import sys
from functools import cache
from importlib.metadata import PackageNotFoundError, version

_PACKAGES = ("trainbus", "numpy", "torch", "keras", "jax", "tensorflow", "scikit-learn", "tensorboardX")
_MODULES = {"scikit-learn": "sklearn"}
"""Modules whose name differs from that of their package."""


def environment() -> dict[str, str | int | None]:
    """Return the machine, the process, and the version of each package that this run has imported.

    >>> environment()["process"] == os.getpid()
    True
    """
    imported = [package for package in _PACKAGES if _MODULES.get(package, package) in sys.modules]
    return {
        "host": platform.node(),
        "process": os.getpid(),
        "processors": os.cpu_count(),
        "platform": platform.platform(),
        "Python": platform.python_version(),
        **{package: _version(package) for package in imported},
    }


@cache
def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "unknown"
