"""Sounds made by arithmetic, for the toy corpus: speech, rooms and channels, noises and music. No corpus by itself."""
