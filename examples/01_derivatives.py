"""Derivatives of plain NumPy code: gradient, Jacobian, Hessian, and what a reverse pass is made of."""

import numpy as np

import node_core as nc


def rosenbrock(x):
    """A curved valley with its lowest point at (1, 1, ...)."""
    return np.sum(100.0 * (x[1:] - x[:-1] ** 2) ** 2 + (1.0 - x[:-1]) ** 2)


x = np.array([0.5, -0.3, 0.8])
print("f(x)          ", rosenbrock(x))
print("gradient      ", nc.grad(rosenbrock)(x))
step = 1e-6 * np.eye(3)
central = [(rosenbrock(x + h) - rosenbrock(x - h)) / 2e-6 for h in step]
print("by differences", np.array(central))
print("Hessian\n", nc.hessian(rosenbrock)(x))

# Both modes are linear maps: jvp applies the Jacobian J, vjp its transpose. <u, J v> = <J^T u, v>.
rng = np.random.default_rng(0)
A = rng.standard_normal((4, 3))
u, v = rng.standard_normal(4), rng.standard_normal(3)


def layer(x):
    return np.tanh(A @ x)


_, Jv = nc.jvp(layer, (x,), (v,))
_, pullback = nc.vjp(layer, x)
print("<u, J v>      ", u @ Jv)
print("<J^T u, v>    ", pullback(u)[0] @ v)

# Levels of differentiation nest and do not get mixed up.
print("d/dx x (d/dy (x + y)) =", nc.grad(lambda x: x * nc.grad(lambda y: x + y)(1.0))(1.0))
print("third derivative of x^5 at 2:", nc.grad(nc.grad(nc.grad(lambda x: x**5)))(2.0), "= 60 * 4")

# What was recorded can be looked at: the graph of a function and of its gradient.
print(nc.trace(layer, x))
print(nc.trace(nc.grad(lambda x: np.sum(layer(x) ** 2)), x))
