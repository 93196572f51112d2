"""Metrics: their values, running means, history, names and directions."""
