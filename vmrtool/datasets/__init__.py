"""Sentences with moments and videos with features, made into batches."""
