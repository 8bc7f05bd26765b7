"""What this installation is made of."""

from __future__ import annotations

import numpy as np

from ._kernels import build_info
from ._version import __version__

__all__ = ["config", "show_config"]


def config() -> dict[str, str]:
    """version, compiler, instruction set chosen and those compiled, NumPy; the values as text."""
    build = build_info()
    return {
        "node_core": __version__,
        "compiler": build["compiler"],
        "instruction set": f"{build['isa']} (compiled: {', '.join(build['isas'])}; NODE_CORE_ISA chooses)",
        "numpy": np.__version__,
    }


def show_config() -> None:
    """Print version, compiler, instruction set chosen and NumPy."""
    for name, value in config().items():
        print(f"{name:16} {value}")
