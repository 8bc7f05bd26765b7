"""Models of the paper, ready to train; so far the normalizing flows (Chen et al. 2018, section 4).

Reading order: flow (what they share), trace, cnf, planar (the discrete one), densities, training.
"""

from .cnf import CNF, Planar
from .densities import TARGETS, log_normalizer, ring, split, two_circles, two_moons, wave
from .flow import Flow
from .planar import PlanarFlow
from .training import Trained, fit_likelihood, match_density

__all__ = [
    "CNF",
    "TARGETS",
    "Flow",
    "Planar",
    "PlanarFlow",
    "Trained",
    "fit_likelihood",
    "log_normalizer",
    "match_density",
    "ring",
    "split",
    "two_circles",
    "two_moons",
    "wave",
]
