"""Plugins in, decisions out, carried out: the parts of a run in one process."""
