"""The learning rates of a PyTorch optimizer: their names, their schedules, and what changes them."""
