"""Trajectories: frames, and the files they are in."""
