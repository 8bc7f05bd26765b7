"""Independent answers to compare gradients with: closed forms, replays of a record, central differences."""

import numpy as np

import node_core as nc


def relative(got, wanted):
    """Largest difference over the largest entry wanted."""
    assert np.shape(got) == np.shape(wanted)
    return np.max(np.abs(got - wanted)) / np.max(np.abs(wanted))


def differences(fun, x, step=1e-3):
    """dL/dx of a real fun by central differences of sixth order; for complex x dL/dRe + i dL/dIm."""
    x = np.asarray(x)
    out = np.zeros(x.shape, complex if np.iscomplexobj(x) else float)
    for index in np.ndindex(x.shape):
        for unit in (1.0, 1j) if np.iscomplexobj(x) else (1.0,):
            d = np.zeros(x.shape, out.dtype)
            d[index] = step * unit
            pairs = [fun(x + k * d) - fun(x - k * d) for k in (1, 2, 3)]
            out[index] += unit * np.dot([45.0, -9.0, 1.0], pairs) / (60.0 * step)
    return out


def expm(A):
    """The matrix exponential by scaling, Taylor and squaring."""
    halvings = max(0, int(np.ceil(np.log2(np.abs(A).sum() + 1e-300))) + 4)
    A = A / 2.0**halvings
    term = total = np.eye(len(A))
    for k in range(1, 14):
        term = term @ A / k
        total = total + term
    for _ in range(halvings):
        total = total @ total
    return total


def linear_closed_form(A, y0, t, G):
    """The solution (m, n) of y' = A y, and the gradients of sum(G * y) to y0, A and t.

    dL/dA is the integral of exp(A' (tau - s)) g y0' exp(A' s) over s, a corner of one larger exponential
    (Van Loan 1978).
    """
    n = len(A)
    ys, y0_bar, A_bar, t_bar = [y0], G[0].copy(), np.zeros_like(A), np.zeros_like(t)
    for i in range(1, len(t)):
        block = np.block([[A.T, np.outer(G[i], y0)], [np.zeros((n, n)), A.T]])
        E = expm((t[i] - t[0]) * block)
        ys.append(E[:n, :n].T @ y0)
        y0_bar += E[:n, :n] @ G[i]
        A_bar += E[:n, n:]
        t_bar[i] = G[i] @ A @ ys[-1]
        t_bar[0] -= t_bar[i]
    return np.stack(ys), y0_bar, A_bar, t_bar


def replay(fun, y0, t, tableau, record):
    """The outputs (m, n) on the grid of `record`, whose first and last points are t[0] and t[-1].

    Every stage is computed anew, with the textbook's formulas: this is what gradient="discrete" differentiates.
    """
    grid = np.append(record.t, t[-1])
    grid[0] = t[0]
    a, b, c, p = tableau.dense_a, tableau.dense_b, tableau.dense_c, tableau.p
    ys, y = [y0], y0
    for k in range(len(grid) - 1):
        h = grid[k + 1] - grid[k]
        K = np.zeros((len(c), *np.shape(y0)), np.asarray(y0).dtype)
        for i in range(len(c)):
            K[i] = fun(grid[k] + c[i] * h, y + h * np.tensordot(a[i], K, 1))
        for i in range(1, len(t) - 1):
            if record.output_step[i] == k:
                powers = ((t[i] - grid[k]) / h) ** np.arange(1, p.shape[1] + 1)
                ys.append(y + h * np.tensordot(p @ powers, K, 1))
        y = y + h * np.tensordot(b, K, 1)
    return np.stack([*ys, y])


def worst(a, b):
    """The largest difference of two trees, relative to the largest entry of b."""
    a, b = nc.tree.ravel(a)[0], nc.tree.ravel(b)[0]
    return np.max(np.abs(a - b)) / np.max(np.abs(b))
