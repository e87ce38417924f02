"""Windows of an archive, pooled vectors, the shortlist and one ranking of moments."""
