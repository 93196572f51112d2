"""The files that are saved together with a payload: a training state, and other models."""
