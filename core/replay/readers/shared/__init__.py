"""What readers of several formats need: lines, values with steps of their own, protocol buffers, and settings."""
