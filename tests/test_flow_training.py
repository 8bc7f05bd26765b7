"""Training flows: short trainings, going on, stopping, and what is refused."""

import numpy as np
import pytest

import node_core as nc
from node_core.models import CNF, Planar, PlanarFlow, fit_likelihood, log_normalizer, match_density
from node_core.models.densities import ring, two_moons
from tests.oracles import worst

TIGHT = {"rtol": 1e-11, "atol": 1e-12}
MLP = nc.nn.MLP([3, 12, 2])


def field(params, t, z):
    """A net of (z, t)."""
    return MLP(params, np.concatenate([z, t * np.ones((len(z), 1))], axis=1))


def larger(params, factor):
    return nc.tree.map(lambda x: factor * x, params)


@pytest.mark.parametrize("made", [lambda: CNF(Planar(2, 16), 2, gradient="discrete"), lambda: PlanarFlow(2, 8)])
def test_matching_a_density_brings_the_divergence_below_a_nat(made):
    flow, seen = made(), []
    result = match_density(
        flow, flow.init(0), ring, steps=150, samples=128, optimizer=nc.optim.Adam(0.02),
        callback=lambda step, loss, params: seen.append((step, loss)),
    )  # fmt: skip
    divergence = np.mean(result.losses[-20:]) + log_normalizer(ring)
    assert 0.0 < divergence < 1.0 < result.losses[0] + log_normalizer(ring) - 3.0
    assert (result.stopped, seen) == (None, list(enumerate(result.losses, 1)))


@pytest.mark.parametrize(
    "made",
    [
        lambda: CNF(Planar(2, 16), 2),
        lambda: CNF(field, 2, init=MLP.init, trace="hutchinson", gradient="discrete"),
        lambda: PlanarFlow(2, 8, toward="base"),
    ],
)
def test_fitting_two_moons_gains_half_a_nat_on_held_out_points(made):
    flow, test = made(), two_moons(9, 500)
    params = flow.init(0)

    def held_out(params):
        return np.mean(flow.log_prob(params, test, flow.noise(5, 500)))

    result = fit_likelihood(flow, params, two_moons(1, 1000), steps=150, batch=128, optimizer=nc.optim.Adam(0.02))
    assert held_out(result.params) > held_out(params) + 0.5
    assert len(result.losses) == 150


def test_a_training_repeats_itself_goes_on_where_it_ended_and_stops_when_the_callback_asks():
    flow = PlanarFlow(2, 3, toward="base")
    params = flow.init(0)
    one, two = (fit_likelihood(flow, params, two_moons, steps=5, batch=16, rng=4) for _ in range(2))
    assert one.losses == two.losses
    rng = np.random.default_rng(4)
    half = fit_likelihood(flow, params, two_moons, steps=2, batch=16, rng=rng)
    rest = fit_likelihood(flow, half.params, two_moons, steps=3, batch=16, rng=rng, state=half.state)
    assert half.losses + rest.losses == one.losses
    assert (worst(rest.params, one.params), rest.state["step"]) == (0.0, 5)
    stopped = fit_likelihood(flow, params, two_moons(0, 20), batch=None, callback=lambda step, loss, p: step == 3)
    assert (len(stopped.losses), stopped.stopped) == (3, "step 3: the callback asked for it")


def exploding(step):
    return 1e-3 if step < 4 else 1e200


def test_a_loss_that_is_no_number_stops_and_keeps_the_last_good_parameters():
    flow, kept = PlanarFlow(2, 3), {}
    with pytest.warns(RuntimeWarning, match="the training stopped at step 5: the loss is"):
        result = match_density(
            flow, flow.init(0), ring, steps=9, samples=8, optimizer=nc.optim.SGD(exploding),
            callback=lambda step, loss, params: kept.update({step: params}),
        )  # fmt: skip
    assert "and the gradient's norm " in result.stopped
    assert "the parameters' norm is " in result.stopped
    assert result.stopped.endswith("Those of step 4 are kept.")
    assert len(result.losses) == 4
    assert worst(result.params, kept[3]) == 0.0  # those that step 4 found to be good


def test_a_failed_solve_stops_a_training_likewise():
    flow = CNF(Planar(2, 3), 2)
    with pytest.warns(RuntimeWarning, match=r"step 5: the solve failed \(.* at t = 1\); the parameters' norm"):
        result = fit_likelihood(flow, flow.init(0), two_moons, steps=9, batch=8, optimizer=nc.optim.SGD(exploding))
    assert np.isfinite(nc.tree.ravel(result.params)[0]).all()
    assert len(result.losses) == 4


def test_a_start_that_is_no_number_is_said_to_be_the_start():
    flow = PlanarFlow(2, 3)
    params = larger(flow.init(0), np.nan)
    with pytest.warns(RuntimeWarning, match="step 1: the loss is nan and the gradient's norm nan"):
        result = match_density(flow, params, ring, steps=3, samples=8)
    assert result.stopped.endswith("They have not had a finite loss.")
    assert result.losses == []


@pytest.mark.parametrize("made", [lambda: CNF(Planar(2, 4), 2), lambda: PlanarFlow(2, 3)])
def test_a_density_of_one_number_for_all_points_is_refused(made):
    flow = made()
    for wrong in (lambda x: -np.sum(x**2), lambda x: -(x**2)):
        with pytest.raises(ValueError, match=r"log_target must take \(8, 2\) to \(8,\), one number a point, got shape"):
            match_density(flow, flow.init(0), wrong, steps=2, samples=8)


def test_wrong_data_is_named():
    flow = PlanarFlow(2, 1, toward="base")
    params, bad = flow.init(0), np.ones((4, 2))
    bad[2, 1] = np.nan
    for data, message in [
        (np.ones((4, 3)), r"data must be of shape \(n, 2\) with n >= 1, got \(4, 3\)"),
        (bad, r"data must hold finite real numbers; row 2 is \[ 1. nan\]"),
        (np.ones((4, 2), complex), "dtype complex128"),
    ]:
        with pytest.raises(ValueError, match=message):
            fit_likelihood(flow, params, data)
        with pytest.raises(ValueError, match=message):
            fit_likelihood(flow, params, lambda rng, n, data=data: data)
    with pytest.raises(ValueError, match="batch must be an int, got None"):
        fit_likelihood(flow, params, two_moons, batch=None)
    with pytest.raises(ValueError, match="steps must be a positive int, got 0"):
        fit_likelihood(flow, params, np.ones((4, 2)), steps=0)
