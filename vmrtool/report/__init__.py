"""Answers written down: JSON, JSON lines, tables. Nothing here knows how they came to be."""
