"""The passes over a graph: what each leaves of it, and that it computes the same values."""

import numpy as np
import pytest

from node_core.program.elementwise import bring_together
from node_core.program.operations import Buffer, Loop, Matmul
from node_core.program.passes import (
    cleaned_up,
    constants_folded,
    duplicates_merged,
    einsum_as_matmul,
    optimised,
    with_bias_joined,
)
from node_core.program.trace import trace
from tests.cases import assert_close

RNG = np.random.default_rng(0)


def names(graph):
    return [step.primitive.name for step in graph.instructions]


def same_values(graph, *args):
    for run in (constants_folded, cleaned_up, duplicates_merged, einsum_as_matmul, with_bias_joined, optimised):
        assert_close(run(graph)(*args), graph(*args), 1e-14)


def test_constants_are_folded():
    graph = trace(lambda x: x * np.sin(np.imag(x) + 2.0), np.ones(2))  # imag of a real value is a constant
    same_values(graph, np.array([3.0, 4.0]))
    assert names(optimised(graph)) == ["multiply"]


def test_equal_instructions_are_computed_once():
    graph = trace(lambda x: np.sin(x) * np.cos(x) + np.sin(x), np.ones(3))
    same_values(graph, np.array([0.1, 0.2, 0.3]))
    assert names(duplicates_merged(graph)).count("sin") == 1


@pytest.mark.parametrize(
    ("function", "left"),
    [
        (lambda x: x * 1.0, []),
        (lambda x: 0.0 + x, []),
        (lambda x: x - 0.0, []),
        (lambda x: x / 1, []),
        (lambda x: -np.negative(x), []),
        (lambda x: x * -1.0, ["negative"]),
        (lambda x: x**1, []),
        (lambda x: x**2, ["square"]),
        (lambda x: x**3, ["cube"]),
        (lambda x: x.T.T, []),
        (lambda x: x.reshape(3, 2).reshape(2, 3), []),
        (lambda x: 1 - x * x, ["tanh_slope"]),
        (lambda x: np.sin(x) * (1 - x * x), ["sin", "tanh_back"]),
        (lambda x: x * 0.0, ["multiply"]),  # NaN and infinity must be seen
        (lambda x: np.sum(x[None], axis=0), ["getitem", "reshape"]),
    ],
)
def test_algebra_is_cleaned_up_where_it_changes_no_value(function, left):
    x = RNG.standard_normal((2, 3))
    graph = trace(function, x)
    same_values(graph, x)
    assert names(optimised(graph)) == left


def test_a_bias_is_joined_to_its_product_and_a_product_used_twice_is_not():
    W, b, x = RNG.standard_normal((3, 4)), RNG.standard_normal(4), RNG.standard_normal((5, 3))
    graph = trace(lambda x, W, b: np.tanh(x @ W + b), x, W, b)
    same_values(graph, x, W, b)
    assert names(optimised(graph)) == ["matmul_bias", "tanh"]

    def twice(x, W, b):
        y = x @ W
        return y * (y + b)

    assert "matmul_bias" not in names(optimised(trace(twice, x, W, b)))


@pytest.mark.parametrize(
    "spec", ["ij,jk->ik", "bij,bjk->bik", "ij,kj->ik", "i,j->ij", "ij,ij->i", "ij,jk,kl->il", "i,i->"]
)
def test_an_einsum_becomes_matmuls(spec):
    sizes = dict(zip("bijkl", (2, 3, 4, 5, 6), strict=True))
    xs = [RNG.standard_normal([sizes[c] for c in term]) for term in spec.split("->")[0].split(",")]
    graph = trace(lambda *xs: np.einsum(spec, *xs), *xs)
    assert "einsum" not in names(optimised(graph))
    assert_close(optimised(graph)(*xs), np.einsum(spec, *xs), 1e-13)


def test_a_chain_follows_the_last_product_that_it_reads_and_each_is_asked_once(monkeypatch):
    asked, reads = [], Loop.reads
    monkeypatch.setattr(Loop, "reads", lambda self: asked.append(self) or reads(self))
    matrix, x = Buffer("w", 16, 0), [Buffer(f"x{k}", 16, 0) for k in range(5)]

    def product(a, out):
        return Matmul(0, m=4, k=4, n=4, out=(out, 0, 4, 1), a=(a, 0, 4, 1), b=(matrix, 0, 4, 1))

    def loop(out, *inputs):
        return Loop(0, rows=4, inner=4, inputs=[(b, 0, 4, 1) for b in inputs], outputs=[out])

    first, second = product(matrix, x[0]), product(matrix, x[1])
    of_both, of_loop, of_first = loop(x[2], x[0], x[1]), loop(x[3], x[1], x[2]), loop(x[4], x[0])
    segment = [first, second, of_both, of_loop, of_first]
    bring_together(segment)
    assert segment == [first, of_first, second, of_both, of_loop]
    assert (first.fused, second.fused) == (True, True)
    assert len(asked) == 3
