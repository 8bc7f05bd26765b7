"""The experiments of the paper (Chen et al. 2018), each run by one command: ``node-core paper NAME``.

Reading order: experiment (what one is), runner (checkpoints, reports), then the experiments.
"""

from .classify import ERROR_CONTROL, ODENET
from .experiment import Experiment, Row, Training
from .flows import DENSITY, LIKELIHOOD
from .latent import LATENT
from .poisson import POISSON
from .runner import CHECKPOINT, ForeignFolderError, finished, reports, run, table
from .spiral import SPIRAL

__all__ = [
    "CHECKPOINT",
    "EXPERIMENTS",
    "Experiment",
    "ForeignFolderError",
    "Row",
    "Training",
    "finished",
    "reports",
    "run",
    "table",
]

EXPERIMENTS = {
    experiment.name: experiment for experiment in (SPIRAL, ERROR_CONTROL, ODENET, DENSITY, LIKELIHOOD, LATENT, POISSON)
}
