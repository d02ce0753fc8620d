"""Foundations of all other packages: registry, configuration, randomness, paths and progress."""
