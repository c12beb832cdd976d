"""Training heads: from embeddings and speakers to losses."""
