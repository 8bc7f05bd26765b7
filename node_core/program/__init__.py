"""From a traced function to a graph, and the right-hand side as the solvers see it."""

from .compiled import Compiled, compile
from .field import ClosedOverError, Field
from .trace import Graph, TraceError, trace

__all__ = ["ClosedOverError", "Compiled", "Field", "Graph", "TraceError", "compile", "trace"]
