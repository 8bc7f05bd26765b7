"""The problems of the work-precision tables against the literature, and the tables themselves."""

import json
import math

import numpy as np
import pytest

import node_core as nc
from node_core.bench import work_precision as wp
from node_core.bench.problems import PROBLEMS
from node_core.cli.main import main

# y(20)'s first component, or what is known in closed form
KNOWN = {
    "A1": [math.exp(-20)],
    "A2": [1 / math.sqrt(21)],
    "A3": [math.exp(math.sin(20))],
    "A4": [20 / (1 + 19 * math.exp(-5))],
    "A5": [-0.78878266888141],  # r = 4 e^(pi/2 - ...), Hull et al.
    "C1": [math.exp(-20), 20 * math.exp(-20), 200 * math.exp(-20)],
    "C2": [math.exp(-20)],
    "Arenstorf": [0.994, 0.0, 0.0],
    "D1": [0.2198835352008397, 0.9427076846341813],  # Kepler's equation, below
}


def solved(name, **options):
    problem = PROBLEMS[name]
    options = {"method": "DOP853", "rtol": 1e-12, "atol": 1e-14, **options}
    return nc.odeint(problem.rhs(np), problem.y0, [0.0, problem.end], **options)[-1]


@pytest.mark.parametrize("name", KNOWN)
def test_the_solutions_are_those_of_the_literature(name):
    near = {"Arenstorf": 1e-6}.get(name, 1e-9)
    np.testing.assert_allclose(solved(name)[: len(KNOWN[name])], KNOWN[name], rtol=1e-9, atol=near * 1e-2)


@pytest.mark.parametrize(("name", "e"), [("D1", 0.1), ("D2", 0.3), ("D3", 0.5), ("D4", 0.7), ("D5", 0.9)])
def test_the_ellipses_are_keplers(name, e):
    u = 20.0
    for _ in range(200):
        u -= (u - e * math.sin(u) - 20.0) / (1 - e * math.cos(u))
    np.testing.assert_allclose(solved(name)[:2], [math.cos(u) - e, math.sqrt(1 - e * e) * math.sin(u)], rtol=1e-8)


def test_the_planets_keep_their_energy_and_the_stars_their_momentum():
    from node_core.bench.problems import GRAVITY, MASSES, SUN

    def energy(y):
        """About the common centre of mass, divided by the gravitational constant."""
        m = np.append(SUN, MASSES)
        at, v = (np.vstack([np.zeros(3), part.reshape(5, 3)]) for part in (y[:15], y[15:]))
        v = v - m @ v / m.sum()
        apart = np.linalg.norm(at[:, None] - at[None, :], axis=2) + np.eye(6)
        pairs = (np.outer(m, m) / apart)[np.triu_indices(6, 1)].sum()
        return 0.5 * m @ np.sum(v * v, axis=1) - GRAVITY * pairs

    np.testing.assert_allclose(energy(solved("C5")), energy(PROBLEMS["C5"].y0), rtol=1e-9)
    stars = solved("Pleiades")
    for part in (14, 21):
        before, after = (np.arange(1, 8) @ z[part : part + 7] for z in (PROBLEMS["Pleiades"].y0, stars))
        assert after == pytest.approx(before, abs=1e-9)
    np.testing.assert_allclose(solved("Pleiades", method="dopri8"), stars, rtol=1e-7, atol=1e-8)


def test_what_the_small_systems_keep_they_keep():
    kept = {
        "B1": lambda y: y[0] - np.log(y[0]) + 2 * (y[1] - np.log(y[1])),
        "B3": np.sum,
        "B5": lambda y: np.array([y[0] ** 2 + y[1] ** 2, 0.51 * y[0] ** 2 + y[2] ** 2]),
        "C1": np.sum,
        "C2": np.sum,
    }
    for name, invariant in kept.items():
        np.testing.assert_allclose(invariant(solved(name)), invariant(PROBLEMS[name].y0), rtol=1e-10, err_msg=name)


@pytest.mark.parametrize("name", [name for name in PROBLEMS if name not in ("Lorenz", "Arenstorf")])
def test_two_methods_agree_on_every_problem(name):
    np.testing.assert_allclose(solved(name, method="dopri8"), solved(name), rtol=1e-6, atol=1e-9)


def test_there_are_three_problems_and_the_25_of_detest():
    assert list(PROBLEMS)[:3] == ["Lorenz", "Pleiades", "Arenstorf"]
    assert list(PROBLEMS)[3:] == [f"{group}{k}" for group in "ABCDE" for k in range(1, 6)]


def test_points_are_measured_at_every_tolerance_and_absent_peers_named(monkeypatch):
    def absent():
        raise ImportError("no diffrax here")

    monkeypatch.setattr(wp.Diffrax, "imported", staticmethod(absent))
    monkeypatch.setattr(wp, "BUDGET", 0.0)
    found = list(wp.work_precision(["diffrax", "torch"], repeats=1, problems=["A1", "B1"]))
    assert found[0] == "diffrax is not installed (no diffrax here)"
    points = found[1:]
    assert len(points) == 2 * len(wp.OURS) * len(wp.TOLERANCES)
    for p in points:
        # of several steps errors add up: at B1's 1e-3 to 140 tolerances
        assert p.error < (300 if p.contestant == "node_core implicit_adams" else 100) * p.tolerance
        assert p.seconds > 0
        assert p.steps > 0
    tight = {p.contestant: p.steps for p in points if p.tolerance == 1e-11 and p.problem == "B1"}
    assert tight["node_core DOP853"] < tight["node_core dopri5"]
    rows = wp.summary(points)
    assert len(rows) == len(wp.OURS) * len(wp.TOLERANCES)
    assert all(row["problems"] == 2 for row in rows)


def test_scipys_dop853_takes_our_steps(monkeypatch):
    pytest.importorskip("scipy.integrate", reason="compared with SciPy")
    monkeypatch.setattr(wp, "BUDGET", 0.0)
    points = list(wp.work_precision(["scipy"], repeats=1, problems=["A3", "D2", "E2"]))
    steps = {name: [(p.problem, p.steps) for p in points if p.contestant == name and p.tolerance > 1e-8]
             for name in ("node_core DOP853", "scipy DOP853")}  # fmt: skip
    assert steps["node_core DOP853"] == steps["scipy DOP853"]


def test_the_command_writes_json_and_a_picture(tmp_path, monkeypatch, capsys):
    pytest.importorskip("matplotlib", reason="a picture needs it")
    monkeypatch.setattr(wp, "PROBLEMS", {"A1": PROBLEMS["A1"], "B1": PROBLEMS["B1"]})
    monkeypatch.setattr(wp, "BUDGET", 0.0)
    out, png = tmp_path / "w.json", tmp_path / "w.png"
    command = ["bench", "--suite", "work-precision", "--against", "torch", "--repeats", "1"]
    assert main([*command, "--json", str(out), "--plot", str(png)]) == 0
    assert "over all problems" in capsys.readouterr().out
    found = json.loads(out.read_text())
    assert {p["problem"] for p in found["points"]} == {"A1", "B1"}
    assert png.read_bytes().startswith(b"\x89PNG")
