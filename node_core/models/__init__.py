"""Models of the paper, ready to train: normalizing flows and latent ODEs (Chen et al. 2018, sections 4 and 5).

Reading order: flow (what they share), trace, cnf, planar (the discrete one), densities; poisson, series (batches on
a union grid), latent_ode, recurrent (what it is compared with); training.
"""

from .cnf import CNF, Planar
from .densities import TARGETS, log_normalizer, ring, split, two_circles, two_moons, wave
from .flow import Flow
from .latent_ode import LatentODE
from .planar import PlanarFlow
from .poisson import PoissonProcess, draw_events
from .recurrent import RNNPredictor
from .series import Spirals, events_on_grid, rmse, spirals, union_grid
from .training import Trained, fit_events, fit_likelihood, fit_series, match_density

__all__ = [
    "CNF",
    "TARGETS",
    "Flow",
    "LatentODE",
    "Planar",
    "PlanarFlow",
    "PoissonProcess",
    "RNNPredictor",
    "Spirals",
    "Trained",
    "draw_events",
    "events_on_grid",
    "fit_events",
    "fit_likelihood",
    "fit_series",
    "log_normalizer",
    "match_density",
    "ring",
    "rmse",
    "spirals",
    "split",
    "two_circles",
    "two_moons",
    "union_grid",
    "wave",
]
