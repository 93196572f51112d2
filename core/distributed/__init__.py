"""Several processes that decide as one."""
