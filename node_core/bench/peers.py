"""Which other packages do which workloads; each is imported only when asked for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from . import peers_jax, peers_numpy, peers_torch
from .contest import Contestant

__all__ = ["PEERS", "contestants"]

# By package and by kind of workload: what makes the contestant, or None for a part that it does not take.
PEERS: dict[str, dict[str, Callable]] = {
    "scipy": {"lorenz": peers_numpy.scipy_lorenz},
    "torch": {"conv": peers_torch.conv_field},
    "torchdiffeq": {
        "spiral": peers_torch.spiral,
        "gemm": peers_torch.gemm,
        "conv": peers_torch.conv_block,
        "cnf": peers_torch.cnf,
    },
    "diffrax": {
        "spiral": peers_jax.diffrax_spiral,
        "gemm": peers_jax.jax_gemm,
        "lorenz": peers_jax.diffrax_lorenz,
    },
    "numbalsoda": {"lorenz": peers_numpy.numbalsoda_lorenz},
    "autograd": {"spiral": peers_numpy.autograd_spiral},
}


def contestants(workload: str, names: list[str], *arguments: Any) -> tuple[list[Contestant], list[str]]:
    """Those peers that can do the workload, and a line for each that is not installed."""
    found, absent = [], []
    for name in names:
        make = PEERS[name].get(workload)
        if make is None:
            continue
        try:
            contestant = make(*arguments)
        except ImportError as error:
            absent.append(f"{name} is not installed ({error})")
            continue
        if contestant is not None:
            found.append(contestant)
    return found, absent
