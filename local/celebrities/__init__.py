"""VoxCeleb on disk: its folders, its metadata, and what is known about it (for local/voxceleb.py)."""
