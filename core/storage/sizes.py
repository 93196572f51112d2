"""File sizes as text."""

from __future__ import annotations


def format_bytes(size: float) -> str:
    """Return a number of bytes in units of 1,000, like ``ls --si``.

    >>> format_bytes(0), format_bytes(4_194_304)
    ('0 B', '4.19 MB')
    """
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:,.3g} TB"
