"""Continue loops over batches where they were interrupted."""
