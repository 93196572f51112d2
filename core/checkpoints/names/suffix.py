"""The suffix of a checkpoint's name: which part of a name it is, and which suffixes a model may have.

A suffix that names a format is written in this format, or refused. With any other suffix, the file has the format of
the model's first suffix, so that people keep the names that they are used to, such as ".ckpt" and ".pth.tar".
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

from ...errors import SettingsError
from ...storage.atomic_file import WEIGHTS

_ONE = re.compile(r"\.[A-Za-z][A-Za-z0-9]*")
_VERSION = re.compile(r".*\.[vV]\d+|.*\d\.(e|a|b|rc|dev|post|alpha|beta)\d+", re.DOTALL | re.IGNORECASE)
"""The end of a name that is a version or a number: "net.v2", "1.0.rc1", "1.e5"."""
_OUTER = ".tar"
"""A suffix that follows another one: ".pth.tar" is one suffix."""
FORMATS = frozenset(
    [
        *(".pt", ".pth", ".pt2", ".pkl", ".pickle", ".safetensors", ".dcp", ".orbax", ".gguf", ".onnx"),
        *(".keras", ".h5", ".hdf5", WEIGHTS, ".tflite", ".pb", ".msgpack"),
        *(".skops", ".joblib", ".npz", ".npy"),
        *(".csv", ".json", ".jsonl", ".log", ".md", ".py", ".toml", ".txt", ".yaml", ".yml"),
        *(".bz2", ".gz", ".xz", ".zst"),
    ]
)
"""Suffixes that name one format: a file of another format would mislead the programs that read it."""


def suffix_at_end(name: str) -> str:
    """Return the suffix of a name, empty for none: a dot, a letter, and letters or digits, but no version.

    ".weights.h5" is one suffix, also misspelt, and so is ".pth.tar".

    >>> [suffix_at_end(name) for name in ("m.ckpt", "m.pth.tar", "m.wieghts.h5", "v1.5", "lr0.001", "net.v2", "1.e5")]
    ['.ckpt', '.pth.tar', '.wieghts.h5', '', '', '', '']
    """
    path = Path(name)
    last, before = path.suffix, Path(path.stem).suffix
    if not _ONE.fullmatch(last) or _VERSION.fullmatch(path.name):
        return ""
    both = before + last
    one = _ONE.fullmatch(before) and (last.lower() == _OUTER or _differs(both.lower(), WEIGHTS) <= 2)
    return both if one else last


def check_suffix(
    given: str, own: Sequence[str], others: Collection[str] = (), how: str = "", *, any_other: bool = True
) -> None:
    """Refuse a suffix that the model cannot have.

    Args:
        given: The suffix.
        own: The suffixes that name the model's formats, the default first.
        others: Further suffixes that the model could have with other options.
        how: These options, in words.
        any_other: Whether a suffix that names no format may be given; the file then has the default format.

    Raises:
        SettingsError: The suffix names the format of other models, is almost one that names a format, or is in
            ``others``.

    >>> check_suffix(".ckpt", [".pt"])
    >>> check_suffix(".pht", [".pt", ".pth"])
    Traceback (most recent call last):
        ...
    trainbus.errors.SettingsError: this model cannot be saved as .pht; did you mean .pth? write .pt, .pth
    """
    if given in own:
        return
    near = "" if given in (*others, *FORMATS) else _meant(given, [*own, *others, *sorted(FORMATS)])
    if any_other and not near and given not in (*others, *FORMATS):
        return
    meant = f"did you mean {near}? " if near in (*own, *others) else f"it is almost {near}; " if near else ""
    other = next((each for each in (given, near) if each in others and each not in own), "")
    more = f", or, {how}, {other}" if other else ""
    raise SettingsError(f"this model cannot be saved as {given}; {meant}write {', '.join(own)}{more}")


def _meant(given: str, known: Iterable[str]) -> str:
    """Return the suffix that was probably meant; empty if another one was."""
    found = {each: _differs(given.lower(), each) for each in known}
    near = min(found, key=found.__getitem__)
    most = 2 if len(near) > 8 else 1 if len(near) > 5 else 0
    if found[near] <= most:
        return near
    return next((each for each in found if _is_slip(given.lower(), each)), "")


def _is_slip(given: str, known: str) -> bool:
    """Return whether a short suffix has two letters in the wrong order, or one letter twice.

    A letter more or another letter is no slip: ".pb", ".ph" and ".pth" are three suffixes.
    """
    if len(given) == len(known):
        return sorted(given) == sorted(known) and _differs(given, known) == 1
    return re.sub(r"(.)\1", r"\1", given) == known


def _differs(one: str, other: str) -> int:
    """Return how many letters were added, left out, replaced, or exchanged with the next one.

    The nearest name of an error message is a guess by similarity, which may be wrong at no cost. Here a guess refuses
    the name, so the edits are counted exactly: by similarity ".ckpt" is as near to ".pt" as ".pht" is to ".pth", and
    the edits that ``difflib`` finds are not always the fewest.

    >>> _differs(".kears", ".keras"), _differs(".safetensor", ".safetensors"), _differs(".pt", ".ckpt")
    (1, 1, 2)
    """
    rows = [list(range(len(other) + 1))]
    for i, letter in enumerate(one, 1):
        row = [i]
        for j, wanted in enumerate(other, 1):
            best = min(rows[-1][j] + 1, row[j - 1] + 1, rows[-1][j - 1] + (letter != wanted))
            if i > 1 and j > 1 and (letter, one[i - 2]) == (other[j - 2], wanted):
                best = min(best, rows[-2][j - 2] + 1)
            row.append(best)
        rows.append(row)
    return rows[-1][-1]
