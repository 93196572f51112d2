"""Where files lie, how checkpoints come there whole, and whose the directories are: on the disk and in stores."""
