"""Learning curves, paired comparisons, and explanations against what is relevant."""
