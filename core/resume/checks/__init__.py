"""Check what a checkpoint says about a run, before a resume changes anything."""
