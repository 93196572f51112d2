"""Readers of the file formats in which training tools record runs."""
