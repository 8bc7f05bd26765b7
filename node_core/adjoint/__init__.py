"""Gradients of solves: discrete (through the recorded steps) and adjoint (the augmented state backward)."""

from .differentiable import GRADIENTS, Solve

__all__ = ["GRADIENTS", "Solve"]
