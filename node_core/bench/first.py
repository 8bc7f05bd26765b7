"""A contestant's first gradient of the spiral, which a cold start times: ``python -m node_core.bench.first NAME 0``.

In a file of its own, so that no more is imported than that needs.
"""

from __future__ import annotations

import sys

from . import ours, peers
from .contest import one_thread
from .workloads import Spiral

__all__ = ["first_gradient"]


def first_gradient(contestant: str, adjoint: bool) -> None:
    """Import, compile and compute it in this process; the contestant by its name in the table."""
    one_thread()
    if contestant in (ours.NAME, ours.EAGER):
        ours.spiral(Spiral(), adjoint, contestant == ours.EAGER).answer()
    else:
        peers.PEERS[contestant.split()[0]]["spiral"](Spiral(), adjoint).answer()


if __name__ == "__main__":
    first_gradient(sys.argv[1], sys.argv[2] == "1")
