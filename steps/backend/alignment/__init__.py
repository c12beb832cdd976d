"""Comparing a voice profile made by one frozen model with a test embedding made by another one."""
