"""Alike particles, such as Lennard-Jones clusters, from the energy alone."""
