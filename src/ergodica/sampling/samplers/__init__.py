"""Trained samplers, a room for each kind: its network, its score, its file, its training."""
