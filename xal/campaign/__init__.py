"""Recipes, the steps of a campaign, and experiments of several runs."""
