"""Pools on disk: reading, building, checking and decoding them."""
