"""Loading of recorded runs: each once, by a unique name."""
