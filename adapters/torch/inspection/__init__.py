"""Activations, gradients and graphs of PyTorch modules."""
