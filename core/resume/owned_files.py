"""The files that belong to a run: what a manifest names is read, written or deleted only if it is one of them."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Collection, Container, Iterable, Iterator, Sequence
from contextlib import suppress
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TypeAlias

from ..callback import Callback
from ..capabilities import Saveable, supports
from ..checkpoints import entries_of, payload_of
from ..checkpoints.beside.files import names_beside
from ..checkpoints.names.suffix import FORMATS, suffix_at_end
from ..checkpoints.newest_link import place_of
from ..checkpoints.snapshots import PREFIX
from ..decision import Action, Forget, Save
from ..errors import SettingsError
from ..storage.atomic_file import suffix_of
from ..storage.backend import backend_for, existing
from ..storage.paths import Location, RemotePath, Source, location

_INTERNAL = ".trainbus"
"""Prefix of the names that checkpoints never have."""
_ESCAPED = re.compile(r"\[([*?[])\]")

Parts: TypeAlias = tuple[str, ...]
"""The parts of an absolute path, links followed, or of a URL."""


class OwnedFiles:
    """The files in the directories that the callbacks of a run own.

    Anyone can write a manifest. So a path in it counts only if it lies inside these directories, links followed, and if
    the run itself would write such a file there.

    Args:
        directories: The directories.
        patterns: ``glob`` patterns of the checkpoints that the callbacks write.
        suffixes: The suffixes of the files that the subject and the callbacks write; empty for any.

    >>> owned = OwnedFiles([Path("/tmp/run")], ["/tmp/run/m-*.pt"], [".pt"])
    >>> owned.holds("/tmp/run/m-1.pt"), owned.holds("/tmp/run/../m-1.pt")
    (True, False)
    >>> owned.flaw_of_saving("/tmp/run/m-1.pt"), owned.flaw_of_saving("/tmp/run/journal.jsonl")
    ('', 'it is not the path of a checkpoint')
    """

    def __init__(
        self, directories: Iterable[Location], patterns: Iterable[str] = (), suffixes: Collection[str] = ()
    ) -> None:
        self.directories = tuple(directories)
        """The directories, in order."""
        self._roots = [_resolved(each) for each in self.directories]
        self.patterns, self._suffixes = tuple(patterns), frozenset(suffixes)
        self._split_patterns = [_split_pattern(each) for each in self.patterns]
        self._stems = [each.removesuffix(suffix_at_end(each)) for each in self.patterns]
        self._split_stems = [_split_pattern(each) for each in self._stems]

    @classmethod
    def of(cls, callbacks: Iterable[Callback], subject: object = None) -> OwnedFiles:
        """Return the files of the callbacks of a run.

        Args:
            callbacks: The callbacks.
            subject: What is trained.
        """
        callbacks, suffixes = list(callbacks), set[str]()
        directories = {location(each) for callback in callbacks for each in callback.locked_directories()}
        patterns = [each for callback in callbacks for each in callback.checkpoint_patterns(subject)]
        if supports(subject, Saveable):
            suffixes = {each for only in (False, True) for each in subject.suffixes(weights_only=only)}
            suffixes |= {suffix_of(location(each)) for each in patterns} - {""}  # those of the user's own
        return cls(sorted(directories, key=str), patterns, suffixes)

    def and_directory(self, directory: Location) -> OwnedFiles:
        """Return the same files together with those in a directory."""
        more = () if self.holds(directory / "any") else (directory,)
        return OwnedFiles([*self.directories, *more], self.patterns, self._suffixes)

    def holds(self, source: Source, *, follow: bool = False) -> bool:
        """Return whether a path lies inside the directories, links in it followed.

        Args:
            source: The path.
            follow: Whether to follow the path itself if it is a link, as reading does and replacing does not.
        """
        return self._flaw_of_place(source, follow=follow) == ""

    def directory_for(self, checkpoint: Location) -> Location:
        """Return where the snapshots of a checkpoint belong: beside it if the run owns it or has no directory."""
        return checkpoint.parent if self.holds(checkpoint) or not self.directories else self.directories[0]

    def flaw_of_listing(self, source: Source) -> str:
        """Return, in words, why a path is not that of a checkpoint of the run; empty if it may be one."""
        flaw = self._flaw_of_place(source)
        if flaw or self._names_checkpoint(location(source)):
            return flaw
        suffix = _own_suffix(location(source))
        if suffix and not location(source).name.startswith(_INTERNAL):
            return f"no callback writes files with the suffix {suffix!r}; give a filepath with it"
        return "it is not the path of a checkpoint"

    def flaw_of_saving(self, source: Source) -> str:
        """Return, in words, why the run would not write a checkpoint there; empty if it would."""
        flaw = self.flaw_of_listing(source)
        if flaw or self._matches(location(source)) or _holds_nothing_else(location(source)):
            return flaw
        return "it is a file, but not a checkpoint"

    def flaw_of_deleting(self, source: Source) -> str:
        """Return, in words, why the run would not delete what is there; empty if it would, or if nothing is there."""
        flaw = self.flaw_of_listing(source)
        if flaw or not _holds_nothing_else(location(source)):
            return flaw or "it is a file, but not a checkpoint"
        return self.flaw_of_files_beside(source)

    def may_delete(self, place: Location) -> bool:
        """Return whether a file of a save belongs to the run: also one that it saved with another suffix."""
        return self._matches(place) or self._had_other_suffix(place)

    def flaw_of_files_beside(self, source: Source) -> str:
        """Return, in words, why the run would not delete the other files of a save; empty if it would."""
        place = location(source)
        try:
            foreign = [name for name in names_beside(entries_of(place)) if not self.may_delete(place.with_name(name))]
        except OSError:
            return "its manifest cannot be read"
        return f"its file {min(foreign)!r} is not one of the run" if foreign else ""

    def flaw_of_snapshot(self, source: Source) -> str:
        """Return, in words, why a path is not that of a snapshot of the run; empty if it may be one."""
        flaw = self._flaw_of_place(source, follow=True)
        return flaw if flaw or location(source).name.startswith(PREFIX) else "it is not the path of a snapshot"

    def flaw_of_history(self, source: Source) -> str:
        """Return, in words, why a path is not that of a history of the run; empty if it may be one."""
        return self._flaw_of_place(source, follow=True)

    def refusal_of(self, action: Action, written: Location, slots: Container[str]) -> str:
        """Return, in words, why the run does not carry out an action of a manifest; empty if it does.

        Args:
            action: The action.
            written: The checkpoint that names it, which is written already.
            slots: The names of the snapshots, which are no files.
        """
        if isinstance(action, Save) and (flaw := self._flaw_of_save(action, written)):
            return f"{action.path!r} is not saved: {flaw}"
        if isinstance(action, Forget) and action.source not in slots and (flaw := self.flaw_of_deleting(action.source)):
            return f"{action.source!r} is not deleted: {flaw}"
        return ""

    def _flaw_of_save(self, action: Save, written: Location) -> str:
        if not _is_at(action.path, written) and (flaw := self.flaw_of_saving(action.path)):
            return flaw
        for path in action.paths[1:]:
            if not self._is_part(location(path), location(action.path)) and (flaw := self.flaw_of_saving(path)):
                return f"its file {path!r}: {flaw}"
            if location(path).parent != location(action.path).parent:
                return f"its file {path!r}: it is in another directory"
        for path, link in action.links:
            if flaw := self._flaw_of_link(location(path), link):
                return f"its link: {flaw}"
        return ""

    def _is_part(self, place: Location, saved: Location) -> bool:
        """Return whether the run has saved a file together with another one."""
        try:
            return self.may_delete(place) and place.name in names_beside(entries_of(saved))
        except (ValueError, OSError):
            return False

    def _flaw_of_link(self, place: Location, link: str) -> str:
        return self.flaw_of_listing(place_of(link, place)) if isinstance(place, Path) else "a store has none"

    def listed(self, files: Iterable[Location], written: Location) -> tuple[list[Location], str]:
        """Return the checkpoints of the run among the files that a manifest lists, and why others are left out.

        Args:
            files: The files.
            written: The checkpoint that lists them.
        """
        flaws = {each: "" if _is_at(each, written) else self.flaw_of_listing(each) for each in files}
        foreign = [each for each, flaw in flaws.items() if flaw]
        own = [each for each, flaw in flaws.items() if not flaw]
        if not foreign:
            return own, ""
        more = f" and {len(foreign) - 1} more" if len(foreign) > 1 else ""
        return own, f"{str(foreign[0])!r}{more}: not listed as a checkpoint: {flaws[foreign[0]]}"

    def gone(self, files: Iterable[Location]) -> Iterator[str]:
        """Return, in words, each directory of the run that held some of these files and holds no checkpoint now."""
        files = list(files)
        for directory, root in zip(self.directories, self._roots, strict=True):
            inside = [each for each in files if _is_below(each, root)]
            if not inside or existing(inside) or any(_is_below(each, root) for each in self._present()):
                continue
            more = f" and {len(inside) - 1} more" if len(inside) > 1 else ""
            yield (
                f"{str(directory)!r} holds no checkpoint any more, but the run had {str(inside[0])!r}{more} there; "
                "they are not kept or listed; if the directory was moved, move it back or set filepath to its new place"
            )

    def _present(self) -> Iterator[Location]:
        """Yield what is at the paths to which the callbacks write, also what was saved with another suffix."""
        for each in (*self.patterns, *(f"{stem}.*" for stem in self._stems)):
            with suppress(OSError):
                yield from filter(self.may_delete, backend_for(location(each)).glob())

    def _flaw_of_place(self, source: Source, *, follow: bool = False) -> str:
        try:
            parts = _resolved(location(source), follow=follow)
        except (SettingsError, ValueError, OSError) as error:  # such as a chain of URLs
            return f"it is not a valid path: {error}"
        if any(len(parts) > len(root) and parts[: len(root)] == root for root in self._roots):
            return ""
        names = ", ".join(repr(str(each)) for each in self.directories)
        return f"it is outside of {names}" if names else "no callback of this run owns a directory"

    def _names_checkpoint(self, place: Location) -> bool:
        if place.name.startswith(_INTERNAL) or payload_of(place) is not None:
            return False
        return not self._suffixes or suffix_of(place) in self._suffixes or self.may_delete(place)

    def _matches(self, place: Location) -> bool:
        return _fits(place, self._split_patterns)

    def _had_other_suffix(self, place: Location) -> bool:
        """Return whether a callback would write the file if its ``filepath`` had another suffix of the user's own."""
        suffix = _own_suffix(place)
        return suffix != "" and _fits(place.with_name(place.name.removesuffix(suffix)), self._split_stems)


def _resolved(place: Location, *, follow: bool = False) -> Parts:
    if "\0" in str(place):
        raise ValueError("it has a null character")
    if isinstance(place, RemotePath):
        return (place.protocol, *place.key.split("/"))
    if follow or place.name in ("", ".."):
        return Path(os.path.realpath(place)).parts
    return (*Path(os.path.realpath(place.parent)).parts, place.name)


def _is_below(place: Location, root: Parts) -> bool:
    return _resolved(place)[: len(root)] == root


def _is_at(source: Source, place: Location) -> bool:
    """Return whether a path leads to a place, in whichever form it is given."""
    try:
        return _resolved(location(source)) == _resolved(place)
    except (SettingsError, ValueError, OSError):
        return False


def _split_pattern(pattern: str) -> tuple[Parts, Sequence[str]]:
    """Return the directory with which a pattern begins, and the patterns of the parts below it."""
    place, below = location(pattern), list[str]()
    while not below or glob.has_magic(_ESCAPED.sub("", str(place))):
        below.insert(0, place.name)
        place = place.parent
    return _resolved(location(_ESCAPED.sub(r"\1", str(place))), follow=True), below


def _fits(place: Location, patterns: Iterable[tuple[Parts, Sequence[str]]]) -> bool:
    """Return whether a path fits a pattern."""
    parts = _resolved(place)
    return any(
        len(parts) == len(root) + len(pattern)
        and parts[: len(root)] == root
        and all(map(_part_matches, parts[len(root) :], pattern))
        for root, pattern in patterns
    )


def _own_suffix(place: Location) -> str:
    """Return the suffix of a name if it is one of the user's own, which names no format; else an empty text."""
    suffix = suffix_at_end(place.name)
    return "" if suffix in FORMATS else suffix


def _part_matches(part: str, pattern: str) -> bool:
    return fnmatchcase(part, pattern) and (pattern.startswith(".") or not part.startswith("."))


def _holds_nothing_else(place: Location) -> bool:
    """Return whether nothing but a checkpoint is at a path."""
    try:
        if any(entry.step >= 0 for entry in entries_of(place)):
            return True
        backend = backend_for(place)
        return not (isinstance(place, Path) and place.is_symlink()) and backend.size() is None and not _exists(place)
    except OSError:
        return False


def _exists(place: Location) -> bool:
    return os.path.lexists(place) if isinstance(place, Path) else backend_for(place).is_directory()
