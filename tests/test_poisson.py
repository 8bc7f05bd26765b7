"""Poisson processes: likelihoods of known intensities, gradients, draws, recovery, what is refused."""

import math

import numpy as np
import pytest

import node_core as nc
from node_core.models import Planar, PoissonProcess, draw_events, fit_events
from tests.oracles import worst


def constant(rate, span=(1.0, 5.0)):
    return PoissonProcess(span, field=lambda p, t, z: 0.0 * z, log_rate=lambda p, z: math.log(rate) + 0.0 * z[..., 0])


def known(span=(0.0, 6.0), **keywords):
    """lambda(t) = 2 + sin t, with z = t as the state."""
    return PoissonProcess(
        span,
        latent=1,
        start=[0.0],
        field=lambda p, t, z: 1.0 + 0.0 * z,
        log_rate=lambda p, z: np.log(2 + np.sin(z[..., 0])),
        **keywords,
    )


@pytest.mark.parametrize("events", [[1.5, 2.0, 2.0, 5.0], [], [1.0]])
def test_log_likelihood_of_a_constant_intensity(events):
    process = constant(2.5)
    wanted = len(events) * math.log(2.5) - 2.5 * 4.0
    assert process.log_prob(process.init(0), events) == pytest.approx(wanted, rel=1e-10)


def test_log_likelihood_of_a_known_intensity():
    process, events = known(rtol=1e-10, atol=1e-11), np.array([0.3, 1.0, 4.5, 5.75])
    params = process.init(0)
    wanted = np.sum(np.log(2 + np.sin(events))) - (2 * 6.0 + 1 - math.cos(6.0))
    assert process.log_prob(params, events) == pytest.approx(wanted, rel=1e-9)
    t = np.array([0.0, 1.0, 2.5])
    np.testing.assert_allclose(process.intensity(params, t), 2 + np.sin(t), rtol=1e-9)
    np.testing.assert_allclose(process.integral(params, t), 2 * t + 1 - np.cos(t), rtol=1e-8, atol=1e-14)
    np.testing.assert_allclose(process.intensity(params, [0.0]), [2.0])


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("gradient", ["discrete", "adjoint"])
def test_gradients_of_the_log_likelihood_equal_central_differences_compiled_or_not(gradient):
    process = PoissonProcess((0.0, 10.0), hidden=4, gradient=gradient, rtol=1e-9, atol=1e-10)
    params, (t, counts) = process.init(0, rate=2.0), process.grid([0.5, 3.0, 3.0, 9.0])
    nc.check_grads(lambda params: process.log_prob_on(params, t, counts), (params,))
    value, grads = nc.compile(nc.value_and_grad(process.log_prob_on))(params, t, counts)
    wanted, wanted_grads = nc.value_and_grad(process.log_prob_on)(params, t, counts)
    assert value == pytest.approx(wanted, rel=1e-12)
    assert worst(grads, wanted_grads) < 1e-12


def wavy(t, waves=1):
    return 50.0 * (1.0 + 0.7 * np.sin(0.2 * np.pi * waves * t))


def test_drawn_events_follow_their_intensity():
    counts = np.array([len(draw_events(seed, wavy, (0.0, 10.0), 90.0)) for seed in range(200)])
    assert np.mean(counts) == pytest.approx(500.0, abs=4 * np.sqrt(500 / 200))
    events = np.concatenate([draw_events(seed, wavy, (0.0, 10.0), 90.0) for seed in range(200)])
    early = np.mean(events < 5.0)  # of which 0.5 + 0.7 / pi are expected
    assert early == pytest.approx(0.5 + 0.7 / np.pi, abs=4 * 0.5 / np.sqrt(len(events)))


def recovered(draw, waves=1):
    """The relative L1 error of the intensity learned from about 500 events, and how far its integral is off."""
    span, t = (0.0, 10.0), np.linspace(0.0, 10.0, 401)
    events = draw_events(draw, lambda t: wavy(t, waves), span, 90.0)
    process = PoissonProcess(span, gradient="discrete", rtol=1e-4, atol=1e-4)
    params = fit_events(process, process.init(draw, rate=len(events) / 10.0), events).params
    learned, true = process.intensity(params, t), wavy(t, waves)
    off = abs(process.integral(params, [10.0])[0] / len(events) - 1.0)
    return np.sum(np.abs(learned - true)) / np.sum(true), off


def test_an_intensity_is_recovered_from_500_events_within_a_tenth():
    """In the mean of 8 draws. The number of events alone is known to 1 / sqrt(500), 4 %."""
    errors, off = zip(*(recovered(draw) for draw in range(8)), strict=True)
    assert np.mean(errors) < 0.1
    assert max(errors) < 0.2
    assert max(off) < 0.02


def test_an_intensity_of_two_waves_is_recovered():
    error, off = recovered(1, waves=2)
    assert error < 0.12
    assert off < 0.02


def test_any_field_with_an_init_brings_its_parameters():
    process = PoissonProcess((0.0, 1.0), latent=2, field=Planar(2, 3))
    params = process.init(0)
    assert len(params["field"]) == 3  # the layers of its hypernetwork
    assert np.isfinite(process.log_prob(params, [0.2, 0.7]))


# --- what is refused ---

EVENTS = [
    ([1.5, 3.0, 2.0, 2.5, 1.0], "events are out of order: event 1 is 3, event 2 is 2 .and 1 more.; sort them"),
    ([1.5, np.nan, 2.0], "event 1 is not a finite number: nan"),
    ([1.5, np.inf], "event 1 is not a finite number: inf"),
    ([-0.5, 1.5], "event 0 is negative: -0.5"),
    ([1.5, 2.0, 5.5, 7.0], r"event 2 is outside of the window \[1, 5\]: 5.5 \(and 1 more\)"),
    ([0.5], r"event 0 is outside of the window \[1, 5\]: 0.5"),
    ([[1.5]], r"events must be one array \(K,\) of real numbers, got float64 \(1, 1\)"),
    (["a"], "events must be one array"),
]


@pytest.mark.parametrize(("events", "message"), EVENTS)
def test_wrong_events_are_named(events, message):
    process = constant(1.0)
    with pytest.raises(ValueError, match=message):
        process.log_prob(process.init(0), events)
    with pytest.raises(ValueError, match=message):
        fit_events(process, process.init(0), events)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: PoissonProcess((1.0, 0.0)), r"span must be two finite times, the first before the second, got \(1.0"),
        (lambda: PoissonProcess(3.0), r"span must be \(start, end\) of the window, got 3.0"),
        (lambda: PoissonProcess((0.0, 1.0), latent=0), "PoissonProcess: latent must be a positive int, got 0"),
        (lambda: PoissonProcess((0.0, 1.0)).init(0, rate=0.0), "rate must be a positive number, got 0.0"),
        (lambda: constant(1.0).intensity({}, [7.0]), r"time 0 is outside of the window \[1, 5\]: 7"),
        (lambda: draw_events(0, wavy, (0.0, 10.0), 20.0), "the intensity must lie within 0 and 20, at t = "),
        (lambda: draw_events(0, lambda t: t * np.nan, (0.0, 10.0), 20.0), "at t = .* it is nan"),
    ],
)  # fmt: skip
def test_a_wrong_setting_is_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()
