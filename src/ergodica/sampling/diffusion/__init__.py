"""What all diffusion models share: noise, solvers, densities, weights, and what their training minimises."""
