"""Models of the paper (Chen et al. 2018, sections 3 to 5), ready to train: classifiers, flows and latent ODEs.

Reading order: training; images, odenet; flow (what the flows share), trace, cnf, planar (the discrete one), densities;
poisson, series (batches on a union grid), latent_ode, recurrent (what it is compared with).
"""

from .cnf import CNF, Planar
from .densities import TARGETS, log_normalizer, ring, split, two_circles, two_moons, wave
from .flow import Flow
from .images import Images, digits, mnist, read_idx
from .latent_ode import LatentODE
from .odenet import Classifier, ConvField, ODENet, ResNet, fit_classifier, parameter_count
from .planar import PlanarFlow
from .poisson import PoissonProcess, draw_events
from .recurrent import RNNPredictor
from .series import Spirals, events_on_grid, rmse, spirals, union_grid
from .training import Trained, fit_events, fit_likelihood, fit_series, match_density

__all__ = [
    "CNF",
    "TARGETS",
    "Classifier",
    "ConvField",
    "Flow",
    "Images",
    "LatentODE",
    "ODENet",
    "Planar",
    "PlanarFlow",
    "PoissonProcess",
    "RNNPredictor",
    "ResNet",
    "Spirals",
    "Trained",
    "digits",
    "draw_events",
    "events_on_grid",
    "fit_classifier",
    "fit_events",
    "fit_likelihood",
    "fit_series",
    "log_normalizer",
    "match_density",
    "mnist",
    "parameter_count",
    "read_idx",
    "ring",
    "rmse",
    "spirals",
    "split",
    "two_circles",
    "two_moons",
    "union_grid",
    "wave",
]
