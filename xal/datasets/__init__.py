"""Datasets that ship with the package, are generated, or are converted to pools."""
