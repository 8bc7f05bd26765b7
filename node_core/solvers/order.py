"""Order conditions: how far a tableau's numbers are from satisfying them, evaluated exactly.

A Runge-Kutta method has order p if sum_i b_i phi_i(tree) = 1 / gamma(tree) for every rooted tree of up to p
nodes (Butcher; Hairer, Norsett, Wanner I, II.2, Theorem 2.13). Floats are rationals, so with Fraction the
residuals here are those of the stored numbers, without rounding of their own.
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from functools import cache, lru_cache

import numpy as np

from .tableau import Tableau

__all__ = [
    "checked",
    "dense_residuals",
    "density",
    "embedded_residuals",
    "order_residuals",
    "rooted_trees",
    "split_residuals",
    "step_residuals",
    "tree_order",
]

Tree = tuple  # the subtrees that hang from the root, sorted; () is a single node


@cache
def rooted_trees(nodes: int) -> tuple[Tree, ...]:
    """Every rooted tree of that many nodes: 1, 1, 2, 4, 9, 20, ... of them."""
    return tuple(sorted({tuple(sorted(forest)) for forest in _forests(nodes - 1, nodes - 1)}))


def _forests(nodes: int, largest: int) -> Iterator[tuple[Tree, ...]]:
    """Every multiset of trees of at most `largest` nodes each, `nodes` in all (some more than once)."""
    if nodes == 0:
        yield ()
    for size in range(min(nodes, largest), 0, -1):
        for tree in rooted_trees(size):
            for rest in _forests(nodes - size, size):
                yield (tree, *rest)


def tree_order(tree: Tree) -> int:
    """The number of nodes."""
    return 1 + sum(tree_order(child) for child in tree)


def density(tree: Tree) -> int:
    """gamma(tree): the product of the orders of all subtrees."""
    product = tree_order(tree)
    for child in tree:
        product *= density(child)
    return product


def order_residuals(a: np.ndarray, b: np.ndarray, c: np.ndarray, order: int) -> dict[Tree, float]:
    """sum_i b_i phi_i(tree) - 1/gamma(tree) for every tree of up to `order` nodes.

    a (stages, stages), b and c (stages,). c enters where a stage's row sum would.
    """
    return {tree: float(_dot(_exact(b), phi) - Fraction(1, density(tree))) for tree, phi in _all_phi(a, c, order)}


def step_residuals(tableau: Tableau) -> dict[Tree, float]:
    """The residuals of the method itself, up to its order."""
    return order_residuals(tableau.a, tableau.b, tableau.c, tableau.order)


def split_residuals(tableau: Tableau) -> dict[tuple[str, Tree], float]:
    """The residuals of a method for dq/dt = f(p), dp/dt = g(q), up to its order, by the root's half and tree.

    What hangs from a node of q is of p and so on (Hairer, Lubich, Wanner, III.2.2): a and a_p take turns.
    """
    a, a_p = ([_exact(row) for row in each] for each in (tableau.a, tableau.a_p))
    residuals = {}
    for nodes in range(1, tableau.order + 1):
        for tree in rooted_trees(nodes):
            for half, b, first, second in (("q", tableau.b, a_p, a), ("p", tableau.b_p, a, a_p)):
                phi = _alternating_phi(tree, first, second)
                residuals[half, tree] = float(_dot(_exact(b), phi) - Fraction(1, density(tree)))
    return residuals


def _alternating_phi(tree: Tree, a: list[list[Fraction]], other: list[list[Fraction]]) -> list[Fraction]:
    product = [Fraction(1)] * len(a)
    for child in tree:
        inner = _alternating_phi(child, other, a)
        product = [x * _dot(row, inner) for x, row in zip(product, a, strict=True)]
    return product


def embedded_residuals(tableau: Tableau) -> dict[Tree, float]:
    """The residuals of the embedded method b - e, up to its order; the slope at the new point is a stage."""
    if tableau.e is None:
        raise ValueError(f"tableau {tableau.name} has no embedded method")
    order = tableau.embedded_order
    b_hat = [b - e for b, e in zip(_exact(tableau.dense_b), _exact(tableau.e), strict=True)]
    return {
        tree: float(_dot(b_hat, phi) - Fraction(1, density(tree)))
        for tree, phi in _all_phi(tableau.dense_a, tableau.dense_c, order)
    }


def dense_residuals(tableau: Tableau) -> dict[Tree, np.ndarray]:
    """The residuals of the dense output, up to its order: one for each power of theta, (degree,).

    sum_i b_i(theta) phi_i(tree) = theta^r / gamma(tree), r the tree's order, as an identity of polynomials.
    """
    result = {}
    for tree, phi in _all_phi(tableau.dense_a, tableau.dense_c, tableau.dense_order):
        sums = [_dot(_exact(column), phi) for column in tableau.p.T]
        sums += [Fraction(0)] * (tree_order(tree) - len(sums))  # p may lack powers that it needs
        sums[tree_order(tree) - 1] -= Fraction(1, density(tree))
        result[tree] = np.array([float(s) for s in sums])
    return result


WORST = 1e-10  # a residual above it is a mistake; published tables of 16 digits leave up to 1e-13


@lru_cache(maxsize=64)
def checked(tableau: Tableau) -> Tableau:
    """The tableau; ValueError naming the first condition that its step, error estimate or dense output misses."""
    if tableau.split:
        for (half, tree), residual in split_residuals(tableau).items():
            if abs(residual) > WORST:
                raise ValueError(
                    f"tableau {tableau.name}: {'b' if half == 'q' else 'b_p'} does not have order {tree_order(tree)}: "
                    f"{condition(tree)}, with a and a_p in turn, is wrong by {residual:.3g}"
                )
        return tableau
    parts = [("b", step_residuals(tableau)), ("the dense output p", dense_residuals(tableau))]
    if tableau.adaptive:
        parts.insert(1, ("b - e", embedded_residuals(tableau)))
    for part, residuals in parts:
        for tree, residual in residuals.items():
            worst = float(np.max(np.abs(residual)))
            if worst > WORST:
                raise ValueError(
                    f"tableau {tableau.name}: {part} does not have order {tree_order(tree)}: "
                    f"{condition(tree)} is wrong by {worst:.3g}"
                )
    return tableau


def condition(tree: Tree) -> str:
    """The order condition as a formula: sum_i b_i c_i sum_j a_ij c_j = 1/8."""
    return f"sum_i b_i{_factors(tree, 'i')} = 1/{density(tree)}"


def _factors(tree: Tree, index: str) -> str:
    """What stands behind b_i: a c for every leaf, a sum for every other child."""
    leaves = sum(child == () for child in tree)
    power = {0: "", 1: f" c_{index}"}.get(leaves, f" c_{index}^{leaves}")
    below = chr(ord(index) + 1)
    return power + "".join(f" (sum_{below} a_{index}{below}{_factors(child, below)})" for child in tree if child != ())


def _all_phi(a: np.ndarray, c: np.ndarray, order: int) -> Iterator[tuple[Tree, list[Fraction]]]:
    exact_a, exact_c = [_exact(row) for row in a], _exact(c)
    for nodes in range(1, order + 1):
        for tree in rooted_trees(nodes):
            yield tree, _phi(tree, exact_a, exact_c)


def _phi(tree: Tree, a: list[list[Fraction]], c: list[Fraction]) -> list[Fraction]:
    """Elementary weights phi_i(tree) of each stage (stages,): a product over the children of the root."""
    product = [Fraction(1)] * len(c)
    for child in tree:
        inner = _phi(child, a, c)
        factor = c if child == () else [_dot(row, inner) for row in a]
        product = [x * y for x, y in zip(product, factor, strict=True)]
    return product


def _dot(x: list[Fraction], y: list[Fraction]) -> Fraction:
    return sum((p * q for p, q in zip(x, y, strict=True)), Fraction(0))


def _exact(values) -> list[Fraction]:
    return [Fraction(float(v)) for v in values]
