"""Build a pool from images, texts, tables and idx files."""
