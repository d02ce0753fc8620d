"""Data that travels with the package or is generated."""
