"""The loop: recipes, annotators, the state machine, and experiments of several runs."""
