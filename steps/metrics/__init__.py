"""Scores to figures: error rates, costs, Cllr, intervals. Needs only numpy and scipy: auditable alone."""
