"""Readers of JSON files and JSON lines."""
