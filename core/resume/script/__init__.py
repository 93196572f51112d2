"""What the script sets before a resume: learning rates and other options of the optimizers."""
