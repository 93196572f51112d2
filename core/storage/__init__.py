"""Files and directories, on this machine's disk or in a remote store, independent of checkpoints."""
