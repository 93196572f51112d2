"""A framework, a writer or an array library is imported only by the code that uses it."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = {
    *("filelock", "fsspec", "jax", "keras", "lightning", "numpy", "pandas", "polars", "sklearn", "tensorboardX"),
    *("tensorflow", "torch", "tqdm"),
}


def loaded_by(code: str) -> set[str]:
    """Return the modules that a new interpreter has loaded after running ``code``."""
    script = f"{code}\nimport sys; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    return set(done.stdout.split())


@pytest.mark.parametrize(
    "code",
    [
        "import trainbus",
        "from trainbus import *",
        "from trainbus.plugins import *",
        "import trainbus.cli, trainbus.cli.checkpoints, trainbus.cli.explain",
        "import trainbus; trainbus.Run(callbacks=[{'callback': 'EarlyStopping', 'mode': 'min'}])",
    ],
)
def test_importing_brings_no_framework_and_no_writer(code: str) -> None:
    """Neither trainbus nor its callbacks import what only some users need."""
    assert not loaded_by(code) & HEAVY


def test_finding_imports_nothing() -> None:
    """Installed plugins are listed without importing any of them."""
    listing = "import trainbus; [trainbus.installed(group) for group in ('callbacks', 'adapters', 'plugins')]"
    loaded = {name for name in loaded_by(listing) if name.startswith(("trainbus.plugins", "trainbus.adapters"))}
    assert not loaded
    assert not loaded_by(listing) & HEAVY
