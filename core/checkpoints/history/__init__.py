"""The history of a run, in a file beside its checkpoints."""
