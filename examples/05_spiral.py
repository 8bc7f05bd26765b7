"""The paper's toy: learn dy/dt = y^3 A from windows of its trajectory (252 parameters).

Batches of 20 windows of 10 times, L1 loss, RMSprop at 1e-3, 2000 steps, as in the usual set-up of this demo; the
rate falls to zero over the last half, without which the last steps jump about. The two gradients are compared on
the way.
"""

import time

import numpy as np

import node_core as nc

rng = np.random.default_rng(0)
A = np.array([[-0.1, 2.0], [-2.0, -0.1]])
t = np.linspace(0.0, 25.0, 1000)
y_true = nc.odeint(lambda t, y: y**3 @ A, np.array([2.0, 0.0]), t, rtol=1e-8, atol=1e-8)  # (1000, 2)

mlp = nc.nn.MLP([2, 50, 2])
ode = nc.NeuralODE(lambda params, t, y: mlp(params, y**3), init=mlp.init, rtol=1e-7, atol=1e-9)
params = nc.tree.map(lambda w: 0.1 * rng.standard_normal(w.shape) if w.ndim == 2 else w, ode.init(0))


def batch():
    """20 windows: their starts (20, 2) and what follows (10, 20, 2)."""
    start = rng.choice(990, 20, replace=False)
    return y_true[start], np.stack([y_true[start + i] for i in range(10)])


def loss(params, y0, target, gradient):
    return np.mean(np.abs(ode(params, y0, t[:10], gradient=gradient) - target))


y0, target = batch()
g_adjoint, g_discrete = (
    nc.tree.ravel(nc.grad(loss)(params, y0, target, gradient))[0] for gradient in ("adjoint", "discrete")
)
difference = np.max(np.abs(g_adjoint - g_discrete)) / np.max(np.abs(g_discrete))
print(f"adjoint against discrete gradient, relative: {difference:.1e}")

opt = nc.optim.RMSprop(lambda step: 1e-3 * min(1.0, (2001 - step) / 1000))
state = opt.init(params)
step = nc.compile(nc.value_and_grad(loss))
began = time.perf_counter()
for i in range(1, 2001):
    value, grads = step(params, *batch(), "discrete")
    params, state = opt.update(params, grads, state)
    if i % 250 == 0:
        whole = np.mean(np.abs(ode(params, y_true[0], t) - y_true))
        seconds = time.perf_counter() - began
        print(f"step {i:4}  loss {value:.5f}  whole trajectory {whole:.3f}  {seconds:5.1f} s")
