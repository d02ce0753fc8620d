"""What becomes of an explanation after the query: synthetic training items."""
