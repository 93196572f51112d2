"""Files and directories, on a disk or in a remote store; knows nothing of checkpoints."""
