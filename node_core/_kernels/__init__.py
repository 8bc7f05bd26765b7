"""The compiled kernels: csrc/ through Cython. `rk` steps; `build_info()` says how it was built."""

from .rk import build_info

__all__ = ["build_info"]
