"""Functionals that are learnt: what the network sees, the network, its training, and the functional it becomes."""
