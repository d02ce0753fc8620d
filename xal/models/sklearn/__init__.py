"""scikit-learn models, one per file."""
