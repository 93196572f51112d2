"""Checkpoints on a disk or in a remote store: saved so that no crash damages one, found and verified."""

from .commit import Checkpoint, commit, local_copy, read, remove
from .discovery import CheckpointInfo, inspect_paths, newest, newest_intact, payloads_in, remove_debris, scan
from .manifest import Manifest, ManifestEntry, entries_of, manifest_of, payload_of

__all__ = [
    "Checkpoint",
    "CheckpointInfo",
    "Manifest",
    "ManifestEntry",
    "commit",
    "entries_of",
    "inspect_paths",
    "local_copy",
    "manifest_of",
    "newest",
    "newest_intact",
    "payload_of",
    "payloads_in",
    "read",
    "remove",
    "remove_debris",
    "scan",
]
