"""The files of one run: the checkpoints that it has written and not deleted since."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator

from ..decision import Decision, Forget, Save
from ..storage.paths import Location, StartDirectory, location


class RunFiles(Collection[Location]):
    """The checkpoints of a run as paths as they were given, in the order in which they were last written.

    >>> files = RunFiles()
    >>> files.replace([location("a"), location("b")])
    >>> [str(path) for path in files], location("./b") in files, str(files.newest)
    (['a', 'b'], True, 'b')
    """

    def __init__(self) -> None:
        self.start = StartDirectory()
        """Where relative paths start; the run fixes it when it begins."""
        self.log: list[tuple[Location, bool]] = []
        """Each change: a path, and whether it was written or deleted."""
        self._paths: dict[Location, Location] = {}
        """The identity of each file to its path."""
        self._pending_deletes: dict[Location, Location] = {}

    def __iter__(self) -> Iterator[Location]:
        return iter(list(self._paths.values()))

    def __len__(self) -> int:
        return len(self._paths)

    def __contains__(self, path: object) -> bool:
        return isinstance(path, Location) and self.start.identity(path) in self._paths

    @property
    def newest(self) -> Location | None:
        """The file that was written last; None if there is none."""
        return next(reversed(self._paths.values()), None)

    def replace(self, files: Iterable[Location]) -> None:
        """Have exactly these files from now on."""
        before, self._paths = self._paths, {self.start.identity(path): path for path in files}
        self.log += [(path, False) for place, path in before.items() if place not in self._paths]
        self.log += [(path, True) for place, path in self._paths.items() if place not in before]

    def leave_out_missing(self, present: Iterable[Location]) -> None:
        """Leave out what is not present when the run is resumed.

        This is no change of the run: if a process has deleted a file and died, the resumed run deletes it again.
        """
        places = set(map(self.start.identity, present))
        self._paths = {place: path for place, path in self._paths.items() if place in places}

    def record(
        self, done: Decision, failed: Collection[Location], exists: Callable[[Location], bool]
    ) -> Collection[Location]:
        """Record what a decision has written and deleted.

        Args:
            done: The actions that were executed.
            failed: The paths at which nothing could be written.
            exists: Returns whether there is a checkpoint at a path; called only for saves that failed.

        Returns:
            The paths of the saves that were executed.
        """
        saved = self._identities(action.path for action in done if isinstance(action, Save))
        deleted = self._identities(action.source for action in done if isinstance(action, Forget))
        if failed:  # the files that the failed saves were to replace are not deleted
            pending = self._pending_deletes.items()
            kept = {place: path for place, path in pending if place not in self._paths and exists(path)}
            self._paths = {**kept, **self._paths}
            self.log += [(path, True) for path in kept.values()]
        if saved or deleted:
            self._pending_deletes = {place: self._paths[place] for place in deleted if place in self._paths}
            for place in (*deleted, *saved):
                self._paths.pop(place, None)
            self._paths.update(saved)
            self.log += [(path, False) for place, path in deleted.items() if place not in saved]
            self.log += [(path, True) for path in saved.values()]
        for path in failed:  # a file that is saved again may be written only now
            place = self.start.identity(path)
            if place in self._paths and place not in saved and not exists(path):
                self.log.append((self._paths.pop(place), False))
        return saved.values()

    def _identities(self, paths: Iterable[str]) -> dict[Location, Location]:
        return {self.start.identity(path): path for path in map(location, paths)}
