"""SciPy's own tests of solve_ivp, with ours in its place: ``python -m tests.scipys_own OUT`` writes what came of each.

Ours is called wherever the method is RK23, RK45 or DOP853, by name or as SciPy's class, and SciPy's elsewhere.
"""

import json
import sys
from pathlib import Path

import pytest
import scipy.integrate
from scipy.integrate._ivp.tests import test_ivp as module

import node_core as nc

OURS = ("RK23", "RK45", "DOP853")
scipys = scipy.integrate.solve_ivp
found = {"calls": {"ours": 0, "scipy's": 0}, "passed": [], "failed": [], "skipped": [], "without_ours": []}


def solve_ivp(fun, t_span, y0, method="RK45", **keywords):
    name = method if isinstance(method, str) else method.__name__
    which = "ours" if name in OURS else "scipy's"
    found["calls"][which] += 1
    now["ours"] += which == "ours"
    return (nc.solve_ivp if which == "ours" else scipys)(fun, t_span, y0, method=method, **keywords)


now = {"ours": 0}  # calls of the present test


class Outcomes:
    def pytest_runtest_setup(self, item):
        now["ours"] = 0

    def pytest_runtest_logreport(self, report):
        if report.when == "call" or report.outcome != "passed":
            found[report.outcome].append(report.nodeid.split("::")[-1])
            if not now["ours"]:
                found["without_ours"].append(report.nodeid.split("::")[-1])


if __name__ == "__main__":
    module.solve_ivp = solve_ivp
    options = ["-q", "-p", "no:cacheprovider", "-o", "addopts=", "-W", "ignore:func is called back:RuntimeWarning"]
    pytest.main([*options, "--import-mode=importlib", module.__file__], plugins=[Outcomes()])
    Path(sys.argv[1]).write_text(json.dumps(found))
