"""What replay and sweep say: as text, and as a page."""
