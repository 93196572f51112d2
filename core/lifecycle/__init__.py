"""The parts of a run, put together, and the order in which they act at each event."""
