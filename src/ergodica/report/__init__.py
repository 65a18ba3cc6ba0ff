"""Plots, self-tests and the self-contained HTML page."""
