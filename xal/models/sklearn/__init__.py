"""scikit-learn models, one a file."""
