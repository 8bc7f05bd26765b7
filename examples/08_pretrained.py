"""Every model of the paper, trained: loaded and used in five lines each.

The parameters come from the experiments as `node-core paper` runs them; examples/models/README.md tells which. A file
holds a tree of arrays and nothing else: the model is made by its constructor, as it was made to be trained.
"""

from pathlib import Path

import numpy as np

import node_core as nc
from node_core import models
from node_core.models import CNF, LatentODE, Planar, PlanarFlow, PoissonProcess, RNNPredictor, rmse

MODELS = Path(__file__).parent / "models"

# A neural ODE that has learned the spiral dy/dt = y^3 A.
mlp = nc.nn.MLP([2, 50, 2])
ode = nc.NeuralODE(lambda params, t, y: mlp(params, y**3), init=mlp.init)
params = nc.load(MODELS / "spiral.npz")
y = ode(params, np.array([2.0, 0.0]), np.linspace(0.0, 25.0, 1000))  # (1000, 2)
print(f"spiral: from (2, 0) to ({y[-1, 0]:.2f}, {y[-1, 1]:.2f}) at t = 25")

# Digits, by the ODE-Net and by its twin.
data = models.digits()
for name, net in (("odenet", models.ODENet), ("resnet", models.ResNet)):
    net = net((1, 8, 8), width=16, downsamplings=1)
    params = nc.load(MODELS / f"{name}.npz")
    wrong = net.error(params, data.test_x, data.test_labels)
    print(f"{name}: {100 * wrong:.1f} % of {len(data.test_x)} digits wrong, {net.count()} parameters")

# Two moons, by the continuous and by the discrete flow: densities of given points, and draws.
held_out = models.two_moons(12345, 2000)
for name, flow in (
    ("cnf", CNF(Planar(2, 64), 2, rtol=1e-5, atol=1e-5)),
    ("planar_flow", PlanarFlow(2, 64, toward="base")),
):
    params = nc.load(MODELS / f"{name}.npz")
    likelihood, x = np.mean(flow.log_prob(params, held_out)), flow.sample(params, 0, 500)
    print(f"{name}: held-out log-likelihood {likelihood:.3f}; 500 draws have the mean {np.mean(x, axis=0).round(2)}")

# Spirals seen at 30 of 100 irregular times, by the latent ODE and by the recurrent net: where do they go?
seen = models.spirals(1, 200, kept=30, starts=(100, 300))
for name, model, more in (("latent_ode", LatentODE(2), {"refine": 50}), ("rnn", RNNPredictor(2), {})):
    params = nc.load(MODELS / f"{name}.npz")
    beyond = model.extrapolate(params, seen.t, seen.x, seen.mask, seen.future, **more)  # (100, 200, 2)
    print(f"{name}: RMSE {rmse(beyond, seen.beyond):.3f} over as long again as was seen")

# The intensity that 500 events were drawn from.
process = PoissonProcess((0.0, 10.0))
params = nc.load(MODELS / "poisson.npz")
rates = process.intensity(params, [2.5, 7.5])  # events a time; it was 85 and 15
print(f"poisson: {rates[0]:.0f} events a time at t = 2.5, {rates[1]:.0f} at 7.5")
