"""Ensembles by walking: Hamiltonian and torsional Monte Carlo, replica exchange, and what they are worth."""
