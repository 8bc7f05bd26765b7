"""Euler's method with step 1 is a residual network, to the last bit; smaller steps are a deeper one.

A residual block adds a correction to its input, h <- h + f(h). Euler's method for dh/dt = f(h) does
h <- h + dt f(h). Let the step go to zero and the network becomes a differential equation.
"""

import numpy as np

import node_core as nc

rng = np.random.default_rng(0)
mlp = nc.nn.MLP([3, 16, 3])
params = mlp.init(rng)
h0 = rng.standard_normal((5, 3))  # a batch of five inputs
BLOCKS = 8


def residual_network(params, h):
    """Eight blocks that share their weights."""
    for _ in range(BLOCKS):
        h = h + mlp(params, h)
    return h


def field(params, t, h):
    return mlp(params, h)


euler = nc.NeuralODE(field, method="euler", gradient="discrete")


def ode_network(params, h):
    return euler(params, h, np.arange(BLOCKS + 1.0))[-1]


difference = np.max(np.abs(residual_network(params, h0) - ode_network(params, h0)))
print(f"residual network against Euler with dt = 1: {difference:.1e}")
assert difference < 1e-12

# So are their gradients: backpropagation through the blocks is the discrete gradient of the solve.
grads = [nc.grad(lambda p, net=net: np.sum(net(p, h0) ** 2))(params) for net in (residual_network, ode_network)]
a, b = (nc.tree.ravel(g)[0] for g in grads)
difference = np.max(np.abs(a - b)) / np.max(np.abs(a))
print(f"their gradients, relative:                  {difference:.1e}")
assert difference < 1e-12

# With more and smaller steps the network converges to the ODE's solution, at first order.
exact = nc.odeint(lambda t, h: mlp(params, h), h0, [0.0, 1.0], rtol=1e-11, atol=1e-11)[-1]
for n in (1, 10, 100, 1000):
    h = nc.odeint(lambda t, h: mlp(params, h), h0, [0.0, 1.0], method="euler", step_size=1.0 / n)[-1]
    print(f"{n:5} blocks of size 1/{n:<5} error {np.max(np.abs(h - exact)):.1e}")
