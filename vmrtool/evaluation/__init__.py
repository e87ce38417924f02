"""Scores of predicted moments against the truth, and what they are compared with."""
