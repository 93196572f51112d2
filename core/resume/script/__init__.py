"""What the script sets: where the training starts, hyperparameters, learning rates and options of the optimizers."""
