"""Names of the files in which tools and scripts write the settings of a run."""

from __future__ import annotations

from pathlib import Path
from typing import Final

STEMS: Final = ("hparams", "params", "hyperparameters", "config", "args", "arguments", "settings", "opt", "flags")
"""Names, without their endings, of files of settings."""
_ENDINGS: Final = {
    *(".bat", ".cfg", ".conf", ".cmd", ".env", ".gin", ".ini", ".markdown", ".md", ".properties", ".ps1", ".rst"),
    *(".tex", ".toml", ".xml", ".yaml", ".yml"),
}
"""Endings of settings, commands and documents; a log has none of them."""


def is_no_log(path: Path) -> bool:
    """Return whether a text is a file of settings, commands or documentation by its name.

    Such a text may have lines like ``epochs: 50`` and ``lr: 0.1``, which are no records of a run.

    >>> is_no_log(Path("run/args.txt")), is_no_log(Path("run/trainer.yaml")), is_no_log(Path("run/train.log"))
    (True, True, False)
    """
    return path.suffix.lower() in _ENDINGS or path.stem.lower() in STEMS
