"""A run on disk, read back without torch, and drawn as video and pictures."""
