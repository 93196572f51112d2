"""Tests of the environment of a run."""

from importlib.metadata import version

import numpy as np
import sklearn

from trainbus.plugins.environment import environment


def test_versions_are_those_of_imported_packages() -> None:
    """Each imported package is listed with its version; machine and process always are."""
    found = environment()

    assert (found["numpy"], found["trainbus"]) == (np.__version__, version("trainbus"))
    assert found["scikit-learn"] == sklearn.__version__
    assert {"host", "process", "processors", "platform", "Python"} <= set(found)
