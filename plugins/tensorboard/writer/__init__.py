"""Event files, written by a background thread."""
