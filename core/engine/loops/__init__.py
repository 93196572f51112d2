"""Loops over epochs and batches, and by steps."""
