"""The decisions that early stopping, plateaus and checkpoints would have made on recorded runs."""
