"""Reads the event files of TensorBoard."""
