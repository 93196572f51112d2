"""Readers of plain text."""
