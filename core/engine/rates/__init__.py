"""The learning rates of a run: their record, their changes, and the cuts."""
