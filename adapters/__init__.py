"""Adapters: one module for each framework; it imports the framework, so import it only if you use it."""
