"""Arrays to pictures: DET plots, score histograms, training curves. Needs only numpy and matplotlib, never pyplot."""
