"""Torch models, one a file."""
