"""Readers of directories and databases that tools write for a run."""
