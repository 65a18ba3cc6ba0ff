"""Equilibrium ensembles by diffusion: targets, noise, solvers of the reverse process, likelihoods and weights."""

from ergodica.sampling.likelihood import LogDensity, log_density
from ergodica.sampling.noise import Noise
from ergodica.sampling.reweighting import Reweighted, pareto_shape, reweight
from ergodica.sampling.solvers import SOLVERS, sample
from ergodica.sampling.spaces import Centred, Euclidean

__all__ = [
    "SOLVERS",
    "Centred",
    "Euclidean",
    "LogDensity",
    "Noise",
    "Reweighted",
    "log_density",
    "pareto_shape",
    "reweight",
    "sample",
]
