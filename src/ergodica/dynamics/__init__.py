"""Minimisation and molecular dynamics."""
