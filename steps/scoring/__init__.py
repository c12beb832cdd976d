"""What stage 6 does between embeddings on disk and scores on disk."""
