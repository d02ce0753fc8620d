"""Pools on disk: reading, building and checking them, and the demo pool that travels with the package."""
