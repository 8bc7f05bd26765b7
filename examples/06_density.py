"""A density learned by maximum likelihood: a continuous normalizing flow on two moons.

The flow carries a Gaussian along dz/dt = f(z, t), and its log density along with -tr(df/dz) (Chen et al. 2018,
section 4). f is a sum of 16 gated planar units whose weights a small net gives at every t. What remains to be gained
is told by the density that made the points; the draws at the end come from the flow run the other way.
"""

import time

import numpy as np

import node_core as nc
from node_core.models import CNF, Planar, fit_likelihood, two_moons

STEPS, NOISE = 1000, 0.1
rng = np.random.default_rng(0)
train, held_out = two_moons(rng, 5000, NOISE), two_moons(rng, 2000, NOISE)

flow = CNF(Planar(2, 16), 2, gradient="discrete", rtol=1e-4, atol=1e-4)
params = flow.init(rng)


def mean_log_prob(params, x):
    return np.mean(flow.log_prob(params, x, rtol=1e-6, atol=1e-8))


curve = two_moons(0, 1000, noise=0.0)  # the two half circles, evenly; noise is added to a point of them
distances = np.sum((held_out[:, None] - curve) ** 2, axis=2)  # (2000, 1000)
best = np.mean(np.log(np.mean(np.exp(-0.5 * distances / NOISE**2), axis=1) / (2 * np.pi * NOISE**2)))
print(f"held-out log-likelihood of the density that made the points: {best:.3f}")
print(f"before training: {mean_log_prob(params, held_out):.3f}")


def report(step, loss, params):
    if step % 250 == 0:
        seconds = time.perf_counter() - began
        print(f"step {step:4}  loss {loss:6.3f}  held-out {mean_log_prob(params, held_out):.3f}  {seconds:4.1f} s")


began = time.perf_counter()
opt = nc.optim.Adam(nc.optim.falling(0.01, STEPS))
params = fit_likelihood(flow, params, train, steps=STEPS, optimizer=opt, callback=report).params

x, log_q = flow.sample_and_log_prob(params, rng, 2000, rtol=1e-6, atol=1e-8)
back = np.max(np.abs(flow.log_prob(params, x, rtol=1e-6, atol=1e-8) - log_q))
print(f"entropy of the learned density {-np.mean(log_q):.3f}; its draws, solved back, have log q to {back:.0e}")
