"""Benchmarks: the compiled against the pure-Python steppers."""

from .race import Result, race
from .spiral import SpiralResult, race_spiral

__all__ = ["Result", "SpiralResult", "race", "race_spiral"]
