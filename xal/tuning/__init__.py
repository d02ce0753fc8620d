"""`xal tune`: the search over explainer settings, and its report."""
