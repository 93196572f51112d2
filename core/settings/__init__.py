"""Callbacks by name and from settings files."""
