"""Building blocks of the networks: bases, cut-offs, spherical harmonics, sums over neighbours, normalisations."""
