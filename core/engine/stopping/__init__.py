"""Requests that end a run: signals, stop files, and those of other ranks."""
