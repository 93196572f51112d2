"""The names of checkpoint files: templates with fields, and suffixes."""
