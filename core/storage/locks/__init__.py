"""Locks on directories: a locked file on a disk, a lease in a store."""
