"""The adjoint method written out (Chen et al. 2018, Algorithm 1), and compared with the library.

dy/dt = tanh(W y), L = sum y(1)^2. With a(t) = dL/dy(t) the augmented state s = [y, a, dL/dW] obeys
[f, -a f_y, -a f_W] and is solved backward in time, from t = 1 to t = 0.
"""

import numpy as np

import node_core as nc

rng = np.random.default_rng(0)
n = 3
W, y0, t = rng.standard_normal((n, n)), rng.standard_normal(n), np.array([0.0, 1.0])
TOLERANCE = {"rtol": 1e-10, "atol": 1e-10}


def f(t, y, W):
    return np.tanh(W @ y)


def augmented(t, s):
    """ds/dt, with the vector-Jacobian products of f written by hand."""
    y, a = s[:n], s[n : 2 * n]
    slope = np.tanh(W @ y)
    through = a * (1.0 - slope**2)  # a times the derivative of tanh
    a_f_y = through @ W
    a_f_W = np.outer(through, y)
    return np.concatenate([slope, -a_f_y, -a_f_W.ravel()])


y1 = nc.odeint(f, y0, t, args=(W,), **TOLERANCE)[-1]  # forward
a1 = 2.0 * y1  # dL/dy(1)
s1 = np.concatenate([y1, a1, np.zeros(n * n)])
s0 = nc.odeint(augmented, s1, t[::-1], **TOLERANCE)[-1]  # backward
y0_again, dL_dy0, dL_dW = s0[:n], s0[n : 2 * n], s0[2 * n :].reshape(n, n)


def loss(y0, W):
    return np.sum(nc.odeint_adjoint(f, y0, t, args=(W,), **TOLERANCE)[-1] ** 2)


library_y0, library_W = nc.grad(loss, (0, 1))(y0, W)
print(f"y(0) solved back from y(1): off by {np.max(np.abs(y0_again - y0)):.1e}")
print(f"dL/dy0, by hand against the library: {np.max(np.abs(dL_dy0 - library_y0)):.1e}")
print(f"dL/dW,  by hand against the library: {np.max(np.abs(dL_dW - library_W)):.1e}")
assert np.allclose(dL_dy0, library_y0, rtol=1e-7)
assert np.allclose(dL_dW, library_W, rtol=1e-7)

# The other way to the same gradient: the derivative of the steps that were taken.
discrete = nc.grad(lambda W: np.sum(nc.odeint(f, y0, t, args=(W,), **TOLERANCE)[-1] ** 2))(W)
print(f"dL/dW,  adjoint against discrete:    {np.max(np.abs(discrete - library_W)):.1e}")
