"""Checkpoints on a disk or in a store: written so that a crash spoils none, found again, and verified."""

from .commit import Checkpoint, commit, fetched, read, remove
from .discovery import Found, look, newest, newest_intact, payloads_in, survey, sweep
from .manifest import MANIFEST, Content, Manifest, contents_of, manifest_of

__all__ = [
    "MANIFEST",
    "Checkpoint",
    "Content",
    "Found",
    "Manifest",
    "commit",
    "contents_of",
    "fetched",
    "look",
    "manifest_of",
    "newest",
    "newest_intact",
    "payloads_in",
    "read",
    "remove",
    "survey",
    "sweep",
]
