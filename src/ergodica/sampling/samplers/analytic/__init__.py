"""Analytic targets from the energy alone: adjoint matching and physics-informed diffusion."""
