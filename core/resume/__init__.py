"""What a checkpoint stores beside the model, and how a run continues from it."""
