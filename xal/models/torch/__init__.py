"""Torch models, one per file."""
