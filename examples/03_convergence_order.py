"""The order of a method, measured: halve the step, and the error falls by 2^order.

The problem is a pendulum let go near the top, where the leading term of every method's error shows early.
Its reference solution comes from dopri8 at a tolerance near rounding.
"""

import numpy as np

import node_core as nc
from node_core.solvers import METHODS
from node_core.solvers.stepper import rk_step


def pendulum(t, y):
    return np.array([y[1], -np.sin(y[0])])


STEPS, FEW = (20, 40, 80, 160), (8, 11, 15, 20)  # few are for order eight, which soon meets rounding
y0, t_end = np.array([2.9, 0.0]), 3.0
reference = nc.odeint(pendulum, y0, [0.0, t_end], method="dopri8", rtol=3e-14, atol=1e-15)[-1]


def error_with(tableau, steps):
    """The error at t_end after equal steps, each one call of the textbook stepper."""
    h, y = t_end / steps, y0
    K = np.zeros((tableau.dense_stages, 2))
    for k in range(steps):
        y = rk_step(pendulum, k * h, y, pendulum(k * h, y), h, tableau, K)
    return np.max(np.abs(y - reference))


print(f"{'method':14}{'order':>6}{'measured':>10}   errors with {STEPS}, or {FEW}, steps")
for name, tableau in METHODS.items():
    if name.startswith("vern"):
        continue  # their leading terms are so small that those of the next orders outweigh them
    counts = STEPS if tableau.order < 8 else FEW
    errors = [error_with(tableau, n) for n in counts]
    slope = -np.polyfit(np.log(counts), np.log(errors), 1)[0]
    print(f"{name:14}{tableau.order:6}{slope:10.2f}   " + "  ".join(f"{e:.1e}" for e in errors))

# An adaptive method is asked for an error instead and finds the steps by itself.
print("\ndopri5: tolerance, steps, evaluations, error")
for tolerance in (1e-3, 1e-6, 1e-9, 1e-12):
    y, stats = nc.odeint(pendulum, y0, [0.0, t_end], rtol=tolerance, atol=tolerance, full_output=True)
    error = np.max(np.abs(y[-1] - reference))
    print(f"{tolerance:9.0e} {stats.naccepted:6} {stats.nfev:6} {error:10.1e}")
