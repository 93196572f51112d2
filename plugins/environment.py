"""The environment of a run: its machine, its process, and the versions of the packages that it uses."""

from __future__ import annotations

import os
import platform
import sys
from functools import cache
from importlib.metadata import PackageNotFoundError, version

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
"""Maps the name of a module to the name of its package."""


def environment() -> dict[str, str | int | None]:
    """Return the machine, the process, and the version of each package that this run has imported.

    >>> environment()["process"] == os.getpid()
    True
    """
    versions = {package: _version(package) for module, package in _PACKAGES.items() if module in sys.modules}
    return {
        "host": platform.node(),
        "process": os.getpid(),
        "processors": os.cpu_count(),
        "platform": platform.platform(),
        "Python": platform.python_version(),
        **versions,
    }


@cache
def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "unknown"
