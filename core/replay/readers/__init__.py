"""What each tool writes down of a run, read into one form."""
