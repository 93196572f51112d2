"""What writes event files, in a thread of its own."""
