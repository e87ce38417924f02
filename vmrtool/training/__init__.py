"""Trains a grounding model on a data set and writes the run folder."""
