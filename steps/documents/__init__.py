"""From results to documents: what a report reads, what it works out of score files, what it draws, and its page."""
