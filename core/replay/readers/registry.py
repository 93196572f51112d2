"""The installed readers, in the order in which they are asked."""

from __future__ import annotations

from typing import NamedTuple

from ...errors import SettingsError
from ...settings import built_in, registry
from .reader import Reader


class Readers(NamedTuple):
    """The readers that work, and an error for each that does not."""

    readers: tuple[Reader, ...]
    failures: tuple[SettingsError, ...]


def installed_readers() -> Readers:
    """Return all readers of the entry points in ``trainbus.readers``.

    One that cannot be imported, or is no ``Reader``, does not prevent the others from reading.

    >>> [each.title for each in installed_readers().readers][0]
    'trainbus journals'
    """
    failures: list[SettingsError] = []
    try:
        points = registry.installed("readers")
    except SettingsError as error:  # two packages use one name
        failures.append(error)
        points = {point.name: point for point in built_in.built_in("trainbus.readers")}
    found: list[Reader] = []
    for name, point in points.items():
        where = f"the reader {name!r} ({point.value}) of {registry.package_of(point)}"
        try:
            loaded = point.load()
        except Exception as error:  # noqa: BLE001 - whatever a package raises, the formats of the others can be read
            failures.append(SettingsError(f"{where} cannot be loaded: {type(error).__name__}: {error}"))
            continue
        if isinstance(loaded, Reader):
            found.append(loaded)
        else:
            kind = type(loaded).__name__
            failures.append(SettingsError(f"{where} is a {kind}, not a trainbus.replay.readers.Reader"))
    return Readers(tuple(sorted(found, key=lambda each: each.order)), tuple(failures))
