"""The run state in a checkpoint, and how a run resumes from it."""
