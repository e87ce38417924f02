"""Sentences as a model reads them: tokens, vocabulary, word vectors."""
