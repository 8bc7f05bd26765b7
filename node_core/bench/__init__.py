"""Benchmarks: the compiled against the pure-Python steppers."""

from .race import Result, race

__all__ = ["Result", "race"]
