"""Properties of crystals: equation of state, elasticity, phonons, free energies.

Every function takes one or many structures and either an Ergodica `Potential`, to which all strained or displaced
structures go in common batches, or any ASE calculator, which gets them one by one. So peers and DFT programs are
measured by the same code.
"""
