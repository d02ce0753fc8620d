"""The Ray engine: the only place in xal that imports ray."""
