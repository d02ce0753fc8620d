"""The registry, configuration, randomness, paths and progress that all other packages stand on."""
