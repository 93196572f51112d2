"""The record of the end of a run, in each of its directories: a finished run that is resumed does not train."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import BaseModel, Field, ValidationError

from ..callback import Callback
from ..decision import Decision, Stop
from ..decision.json_format import action_from_json, decision_from_json
from ..failures import LOG
from ..limits import EPOCHS, STEPS
from ..storage.backend import backend_for
from ..storage.paths import Location, absolute, absolute_entry
from .plugins.matching import match_plugins
from .serialization import decompress_log, from_json_data
from .state import PluginState

NAME = ".trainbus-end.json"
"""Name of the file; it is hidden, so that patterns such as ``best*`` do not match it, and it moves with its directory.
"""


class EndRecord(BaseModel):
    """How a run ended."""

    format: int = 1
    run: str
    """Identifier of the run, which is also in its checkpoints."""
    continues: str = ""
    """Identifier of the run whose checkpoint it continued; until it saves, its newest checkpoint is of that run."""
    epochs: int = Field(ge=0, le=EPOCHS)
    """Number of the last finished epoch, counted from 1."""
    step: int = Field(ge=0, le=STEPS)
    """Weight updates of the run."""
    reason: str
    """Why the run ended, in words."""
    restored: str = ""
    """The file or the copy in memory whose weights the run restored at its end; empty if it restored none."""
    checkpoints: list[str] = Field(default_factory=list[str])
    """The checkpoints that exist at the end of the run, relative to this directory if they are in it."""
    stop_actions: list[dict[str, Any]] = Field(default_factory=list[dict[str, Any]])
    """The stops that ended it; empty if all epochs were trained."""
    plugins: list[PluginState] = Field(default_factory=list[PluginState])
    """The plugins with their settings, without their states."""
    history: str = ""
    """Each epoch with its metrics, as text of ``compress_log``."""
    decision_log: str = ""
    """Each decision with its epoch, as text of ``compress_log``."""

    def check(self) -> None:
        """Parse all data, before any of it is used.

        Raises:
            ValueError: Some are damaged, or declare more than they hold; other errors are possible for other damage.
        """
        self.recorded_epochs()
        self.recorded_decisions()
        decision_from_json(self.stop_actions)

    def recorded_epochs(self) -> list[tuple[int, Mapping[str, Any]]]:
        """Return each epoch with its metrics."""
        return [(epoch, from_json_data(metrics)) for epoch, metrics in decompress_log(self.history)]

    def recorded_decisions(self) -> list[tuple[int, Decision]]:
        """Return each decision with its epoch."""
        return [(epoch, decision_from_json(actions)) for epoch, actions in decompress_log(self.decision_log)]

    def valid_stops(self, plugins: Mapping[str, object], callbacks: Mapping[str, Callback]) -> list[Stop]:
        """Return the stops of plugins whose settings are the same now, and those of the loop.

        Args:
            plugins: Name of each plugin of the resumed run to the plugin.
            callbacks: Name of a plugin to the callback that made it.
        """
        unchanged = match_plugins(self.plugins, plugins, callbacks).unchanged
        listed = {each.name for each in self.plugins}
        stops = [action_from_json(each) for each in self.stop_actions]
        return [each for each in stops if isinstance(each, Stop) and (each.by in unchanged or each.by not in listed)]


class EndRecords:
    """The records in the directories of a run; each directory has one at most."""

    def __init__(self) -> None:
        self.directories: tuple[Location, ...] = ()
        """The directories that the run owns."""

    def write(self, record: EndRecord, files: Iterable[Location]) -> None:
        """Write the record into every directory, atomically; report a directory that cannot be written.

        Args:
            record: The record.
            files: The checkpoints that exist at the end of the run.
        """
        files = list(files)
        for directory in self.directories:
            names = [_name_in(directory, each) for each in files]
            text = record.model_copy(update={"checkpoints": names}).model_dump_json()
            try:
                backend_for(directory / NAME).replace(text)
            except OSError as error:
                LOG.warning("%s: no record of the run's end: %s; resume='auto' may continue to train", directory, error)

    def remove(self) -> None:
        """Remove the records: a run that trains is not finished."""
        for directory in self.directories:
            try:
                backend_for(directory / NAME).remove()
            except OSError as error:
                LOG.warning("%s: the record of an earlier end could not be removed: %s", directory, error)


def find_end(directories: Iterable[Location], run: str | None) -> EndRecord | None:
    """Return the record of a run's end.

    Args:
        directories: Where to look.
        run: The run whose checkpoint was found; None for a run without checkpoints.
    """
    for directory in directories:
        record = read(directory)
        if record is None:
            continue
        if run in filter(None, (record.run, record.continues)) if run is not None else not record.checkpoints:
            return record
    return None


def _name_in(directory: Location, file: Location) -> str:
    root, path = f"{absolute(directory)}/", absolute_entry(file).replace("\\", "/")
    return path.removeprefix(root.replace("\\", "/"))


def read(directory: Location) -> EndRecord | None:
    """Return the record in a directory; None if there is no readable one."""
    try:
        backend = backend_for(directory / NAME)
        if backend.size() is None:
            return None
        record = EndRecord.model_validate_json(backend.read())
        if record.format > 1:
            raise ValueError("a later version of trainbus has written it")
        record.check()
    except (OSError, ValueError, TypeError, AttributeError) as error:
        flaw = "it is damaged" if isinstance(error, ValidationError) else str(error)
        LOG.warning("skipped: %s: %s", directory / NAME, flaw)
        return None
    return record
