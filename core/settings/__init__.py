"""Callbacks loaded by name and from settings files."""
