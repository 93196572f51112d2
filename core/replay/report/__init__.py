"""Reports of replays and sweeps: text for a terminal, and an HTML page."""
