"""From embeddings to scores: transforms, PLDA, cosine, score norms, calibration, fusion. No files, float64."""
