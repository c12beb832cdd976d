"""Gaussian mixtures, Baum-Welch statistics and total variability: what i-vectors are made of."""
