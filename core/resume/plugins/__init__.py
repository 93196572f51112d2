"""The plugins of a checkpoint: matched with those of the run, and their states restored."""
