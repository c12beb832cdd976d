"""Embedding networks, one family a module."""
