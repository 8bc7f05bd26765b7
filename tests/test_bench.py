"""The workloads of the comparison on our side, small: what they hold, and that our answers are the reference's."""

import functools
import json

import numpy as np
import pytest

from node_core.bench import contest, ours_models, peers, suite
from node_core.bench.workloads import CNF, Conv
from node_core.cli.main import main

SMALL_CONV = functools.partial(Conv, batch=4, width=8, groups=4, side=3, rtol=1e-4, atol=1e-4)
SMALL_CNF = functools.partial(CNF, samples=8, units=3, hidden=4)


@pytest.fixture
def small(monkeypatch):
    """The new workloads at a size that takes no time, and no peer."""
    for name, (kind, _, arguments) in suite.WORKLOADS.items():
        if kind == "conv":
            monkeypatch.setitem(suite.WORKLOADS, name, (kind, SMALL_CONV, arguments))
        if kind == "cnf":
            make = functools.partial(SMALL_CNF, np.dtype(name.split()[1]))
            monkeypatch.setitem(suite.WORKLOADS, name, (kind, make, arguments))
    monkeypatch.setattr(suite, "BUDGET", 0.001)
    for variable in contest.ONE_THREAD:
        monkeypatch.setenv(variable, "1")


@pytest.mark.parametrize(
    ("name", "limits"),
    [
        ("conv", {"conv evaluation": 1e-5, "conv vjp": 1e-5, "conv discrete": 5e-2, "conv adjoint": 5e-2}),
        ("cnf", {"cnf float32": 2e-3, "cnf float64": 2e-3}),
    ],
)
def test_a_suite_of_the_papers_models_has_our_answers_near_the_reference(name, limits, small, capsys):
    assert main(["bench", "--suite", name, "--against", "numbalsoda", "--repeats", "1", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["absent"] == []
    assert {row["workload"] for row in found["rows"]} == set(limits)
    assert {row["contestant"] for row in found["rows"]} <= {"node_core", "node_core exact trace"}
    for row in found["rows"]:
        assert row["seconds"] > 0
        assert row["error"] < limits[row["workload"]]


def test_all_is_every_workload_once_and_each_has_a_contestant_and_a_reference():
    assert sorted(suite.SUITES["all"]) == sorted(suite.WORKLOADS)
    assert {kind for kind, _, _ in suite.WORKLOADS.values()} == set(suite.OURS)
    assert {kind for kinds in peers.PEERS.values() for kind in kinds} == set(suite.OURS)


def test_a_cold_start_is_that_of_a_process_which_finds_the_gradient():
    assert suite.cold_start("node_core", adjoint=False, repeats=1) > 0  # CalledProcessError, if it does not


def test_the_flow_has_the_usual_number_of_parameters_and_two_circles():
    w = CNF()
    assert sum(x.size for x in w.weights) == 15_904
    assert {x.dtype for x in (*w.weights, w.x)} == {np.dtype(np.float32)}
    radius = np.hypot(*w.x.T)
    assert (np.sum(np.abs(radius - 1.0) < 0.25), np.sum(np.abs(radius - 0.5) < 0.25)) == (256, 256)


def test_the_closed_and_the_exact_trace_give_one_gradient():
    w = SMALL_CNF(np.float64)
    closed, exact = (ours_models.cnf(w, trace).answer() for trace in ("closed", "exact"))
    np.testing.assert_allclose(closed, exact, rtol=1e-9, atol=1e-12)


def test_the_convolutional_block_is_that_of_the_ode_net():
    """The field's formula with plain loops over the kernel, at one time that is not 0."""
    w = SMALL_CONV()
    s1, h1, W1, b1, s2, h2, W2, b2, s3, h3 = (x.astype(np.float64) for x in w.weights)

    def norm(x, scale, shift):
        grouped = x.reshape(len(x), w.groups, -1)
        grouped = grouped - grouped.mean(axis=2, keepdims=True)
        x = (grouped / np.sqrt((grouped**2).mean(axis=2, keepdims=True) + 1e-5)).reshape(x.shape)
        return scale[:, None, None] * x + shift[:, None, None]

    def conv(x, W, b):
        x = np.concatenate([np.full_like(x[:, :1], w.at), x], axis=1)
        x = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
        out = np.zeros((len(x), w.width, w.side, w.side)) + b[:, None, None]
        for i, j in np.ndindex(3, 3):
            out += np.einsum("oc,nchw->nohw", W[:, :, i, j], x[:, :, i : i + w.side, j : j + w.side])
        return out

    y = w.y0.astype(np.float64)
    y = conv(np.maximum(norm(y, s1, h1), 0), W1, b1)
    y = conv(np.maximum(norm(y, s2, h2), 0), W2, b2)
    wanted = norm(y, s3, h3)
    np.testing.assert_allclose(ours_models.conv_reference(w, "evaluation"), wanted, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(ours_models.conv(w, "evaluation").answer(), wanted, rtol=1e-4, atol=1e-5)


def test_the_tables_of_the_gradients_say_what_they_claim():
    from node_core.bench import accuracy, cost, memory, tolerances

    linear, *_, contracting = tolerances.PROBLEMS
    for mode in ("discrete", "adjoint", "interpolated", "forward"):
        wrong, warned = tolerances.error(linear, mode, 1e-7, linear.exact())
        assert 1e-12 < wrong < 1e-5
        assert not warned
        assert max(accuracy.gradient_errors(mode).values()) < 1e-10
    assert tolerances.error(contracting, "adjoint", 1e-6, contracting.exact())[1]
    assert memory.optimum(4, 32) == 1.0  # one window, taken again once
    assert memory.optimum(1_000_000, 32) == pytest.approx(5.705, abs=1e-3)
    parts, together, seminorm = cost.backward_evaluations(20, 4, 3, 0, 1e-5)
    assert min(parts, together, seminorm) > 20
    name, (loss, params) = list(cost._workloads().items())[2]
    assert name.startswith("Lorenz")
    assert set(cost.ratios(loss, params, 1)) == {"solve", "discrete", "adjoint", "interpolated"}


def test_memory_is_measured_in_a_process_of_its_own():
    from node_core.bench import memory

    found = memory.growth("small", "discrete, 32 checkpoints", 1000)
    assert found["retaken"] == pytest.approx(memory.optimum(1000, 32))
    assert 0 <= found["bytes"] < 2**24
    assert found["parameters"] == 80
