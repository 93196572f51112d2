"""The parts of a run in one process: they call plugins, join their decisions and execute them."""
