"""The Ray engine. Only this package imports ray."""
