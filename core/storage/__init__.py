"""Files and directories, on this machine's disk or in a remote store; knows nothing of checkpoints."""
