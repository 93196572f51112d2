"""Text in the encoding of a stream, which may not support all characters."""

from __future__ import annotations

import codecs


def encodable(text: str, stream: object) -> str:
    r"""Escape the characters that the encoding of a stream does not support, since writing them would raise an error.

    >>> from io import BytesIO, TextIOWrapper
    >>> encodable("val_é → 1", TextIOWrapper(BytesIO(), "cp1252"))
    'val_é \\u2192 1'
    """
    encoding = getattr(stream, "encoding", None)
    return text.encode(encoding, "backslashreplace").decode(encoding) if isinstance(encoding, str) else text


def escape_or_draw(error: UnicodeError) -> tuple[str, int]:
    r"""Handle encoding errors for ``codecs``: escape unsupported characters, and draw plots with ASCII characters.

    >>> "val_\u03c4 \u2022\u2500".encode("ascii", ESCAPE_OR_DRAW)
    b'val_\\u03c4 o-'
    """
    if not isinstance(error, UnicodeEncodeError):
        raise error
    drawn = error.object[error.start : error.end].translate(_DRAWN)
    return drawn.encode("ascii", "backslashreplace").decode(), error.end


ESCAPE_OR_DRAW = "trainbus.escape_or_draw"
"""The name of this error handler, to pass as ``errors`` to a stream."""
_DRAWN = str.maketrans("•─│└┤■★↓…", "o-|++#*v~")
codecs.register_error(ESCAPE_OR_DRAW, escape_or_draw)
