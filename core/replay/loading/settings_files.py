"""The settings files that belong to each of several runs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from ..readers.shared.settings_beside import read_settings
from ..readers.shared.settings_names import STEMS
from .same_run import Located

_ENDINGS: Final = (".yaml", ".yml", ".json")
_NAMES: Final = tuple(f"{stem}{ending}" for stem in STEMS for ending in _ENDINGS)
"""Names of settings files; the first of them that has a setting counts."""
_HYDRA: Final = ".hydra"
_LEVELS: Final = 3
"""How far above its log a run's settings are looked for: logs often lie in a folder of their own."""


def with_settings(found: Sequence[Located]) -> list[Located]:
    """Return recordings with the settings in files beside them; those in the log itself take precedence."""
    files = SettingsFiles(each.files[0] for each in found)
    completed: list[Located] = []
    for each in found:
        beside, notes = files.of(each.files[0], each.requested)
        recording = each.recording
        settings = {**beside, **recording.settings}
        completed.append(
            each._replace(recording=replace(recording, settings=settings, notes=(*recording.notes, *notes)))
        )
    return completed


class SettingsFiles:
    """Finds the settings beside logs: in the directory of the log, and above, as far as there is no other run below.

    Args:
        logs: The first file of each run.

    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> for name in ("a", "b"):
    ...     (folder / name / "logs").mkdir(parents=True)
    ...     _ = (folder / name / "args.json").write_text('{"lr": 0.1}')
    >>> _ = (folder / "args.json").write_text('{"of both": true}')
    >>> files = SettingsFiles([folder / "a/logs/metrics.csv", folder / "b/logs/metrics.csv"])
    >>> files.of(folder / "a/logs/metrics.csv", folder)
    ({'lr': 0.1}, [])
    """

    def __init__(self, logs: Iterable[Path]) -> None:
        self._runs = Counter(above for log in logs for above in log.parents)
        self._listed: dict[Path, frozenset[str]] = {}

    def of(self, log: Path, root: Path) -> tuple[dict[str, object], list[str]]:
        """Return the settings of a run by name, and a note on each file that cannot be read.

        Args:
            log: The first file of the run.
            root: The path by which the runs were requested, above which nothing is read.
        """
        found: dict[str, object] = {}
        notes: list[str] = []
        for file in self._files(log, root):
            found = {**read_settings(file, notes), **found}
        return found, notes

    def _files(self, log: Path, root: Path) -> Iterator[Path]:
        own = {f"{log.stem}{ending}" for ending in (".yaml", ".yml")}
        yield from (log.parent / name for name in self._names(log.parent) if name in own)
        directories = [log.parent] if log == root else [each for each in log.parents if each.is_relative_to(root)]
        for directory in directories[:_LEVELS]:
            if self._runs[directory] > 1:
                return
            names = self._names(directory)
            yield from (directory / name for name in _NAMES if name in names and name not in own)
            if _HYDRA in names:
                yield directory / _HYDRA / "config.yaml"

    def _names(self, directory: Path) -> frozenset[str]:
        if directory not in self._listed:
            try:
                self._listed[directory] = frozenset(each.name for each in directory.iterdir())
            except OSError:
                self._listed[directory] = frozenset()
        return self._listed[directory]
