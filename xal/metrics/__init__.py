"""Figures over runs: learning curves, their areas, paired differences."""
