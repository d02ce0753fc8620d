"""Metrics of predictions and explanations, learning curves and paired comparisons."""
