"""A latent ODE learns spirals from 30 noisy points each, seen at irregular times, and goes on beyond them.

A recurrent net reads a spiral backward in time and gives a Gaussian of z0; z follows dz/dt = f(z); a decoder makes
points of it (Chen et al. 2018, section 5). A recurrent net that predicts one point after another is the comparison. At
the end one solve carries the integral of an intensity beside z: event times are enough to learn it.
"""

import time

import numpy as np

import node_core as nc
from node_core import models

STEPS, BATCH = 400, 50
train, test = models.spirals(0, 500, kept=30), models.spirals(1, 200, kept=30, starts=(100, 300))


def report(step, loss, params):
    if step % 200 == 0:
        print(f"step {step:4}  loss {loss:7.3f}  {time.perf_counter() - began:4.1f} s")


for model in (models.LatentODE(2, gradient="discrete", rtol=1e-4, atol=1e-4), models.RNNPredictor(2)):
    print(model)
    began = time.perf_counter()
    opt = nc.optim.Adam(nc.optim.falling(0.01, STEPS))
    fitted = models.fit_series(
        model, model.init(0), train.t, train.x, train.mask, steps=STEPS, batch=BATCH, optimizer=opt, callback=report
    )
    seen = (fitted.params, test.t, test.x, test.mask)
    beyond = [models.rmse(model.extrapolate(*seen, test.future)[:k], test.beyond[:k]) for k in (10, 100)]
    print(f"error on new spirals, 10 and 100 points beyond the window: {beyond[0]:.3f}, {beyond[1]:.3f}")
    if isinstance(model, models.LatentODE):
        print(f"within the window {models.rmse(model.reconstruct(*seen), test.true[:100]):.3f}, where the noise is 0.3")


def intensity(t):
    return 50 * (1 + 0.7 * np.sin(0.2 * np.pi * t))


events = models.draw_events(1, intensity, (0.0, 10.0), most=85)
process = models.PoissonProcess((0.0, 10.0), gradient="discrete", rtol=1e-4, atol=1e-4)
params = models.fit_events(process, process.init(0, rate=len(events) / 10), events).params
t = np.linspace(0.0, 10.0, 201)
error = np.sum(np.abs(process.intensity(params, t) - intensity(t))) / np.sum(intensity(t))
print(f"an intensity from {len(events)} events: relative error {error:.3f}")
