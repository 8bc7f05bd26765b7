"""Every compiled kernel against its Python twin, over dtype and size."""

import numpy as np
import pytest

from node_core._kernels import build_info, rk
from node_core.solvers import METHODS, Control, control, interpolation, stepper, tableau

DTYPES = pytest.mark.parametrize("dtype", [np.float32, np.float64, np.complex64, np.complex128])
SIZES = pytest.mark.parametrize("n", [0, 1, 2, 3, 7, 8, 16, 17, 31, 33, 64, 100])
ALL = pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)


def random(dtype, *shape, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=shape)
    if np.issubdtype(dtype, np.complexfloating):
        x = x + 1j * rng.normal(size=shape)
    return x.astype(dtype)


def close(x, y, ulps=16):
    """Equal to rounding, measured against the whole vector."""
    assert x.dtype == y.dtype
    assert x.shape == y.shape
    scale = np.abs(y).max(initial=1e-300)
    assert np.abs(x - y).max(initial=0.0) <= ulps * np.finfo(y.dtype).eps * scale


@DTYPES
@SIZES
@pytest.mark.parametrize("rows", [1, 3, 7])
def test_stage_accumulation_equals_its_twin(dtype, n, rows):
    K, y, weights = random(dtype, rows, n), random(dtype, n, seed=1), np.linspace(0.3, -1.0, rows)
    close(rk.weighted_sum(K, weights, 0.1), stepper.weighted_sum(K, weights, 0.1))
    close(rk.weighted_sum(K, weights, 0.1, y), y + stepper.weighted_sum(K, weights, 0.1))


@DTYPES
def test_rows_of_weight_zero_are_not_read(dtype):
    K = random(dtype, 3, 20)
    K[1] = np.nan
    for sum_of in (rk.weighted_sum, stepper.weighted_sum):
        assert np.isfinite(sum_of(K, np.array([1.0, 0.0, 2.0]), 0.5)).all()


@DTYPES
@SIZES
@pytest.mark.parametrize("arrays", [False, True])
def test_scaled_error_and_its_norm_equal_their_twins(dtype, n, arrays):
    error, y, y_new = (random(dtype, n, seed=s) for s in range(3))
    atol = np.linspace(1e-6, 1e-3, n) if arrays else 1e-6
    rtol = np.linspace(1e-3, 1e-2, n) if arrays else 1e-3
    c = Control(rtol=rtol, atol=atol)
    expected = control.scale_error(error, y, y_new, c)
    close(rk.scale_error(error, y, y_new, c), expected)
    assert rk.rms(expected) == pytest.approx(control.rms(expected), rel=1e-14)


@DTYPES
def test_only_the_leading_n_norm_components_are_scaled(dtype):
    error, y = random(dtype, 9), random(dtype, 9, seed=1)
    c = Control(n_norm=4, atol=np.linspace(1e-6, 1.0, 9))
    assert rk.scale_error(error, y, y, c).shape == (4,)
    close(rk.scale_error(error, y, y, c), control.scale_error(error, y, y, c))


@DTYPES
def test_an_error_of_zero_is_zero_where_the_scale_is_zero_too(dtype):
    zero = np.zeros(5, dtype)
    for scale_error in (rk.scale_error, control.scale_error):
        assert (scale_error(zero, zero, zero, Control(atol=0.0)) == 0).all()


def test_the_modulus_of_a_complex_state_scales_both_its_parts():
    y, error = np.array([3.0 + 4.0j]), np.array([1.0 + 2.0j])
    scaled = rk.scale_error(error, y, y, Control(rtol=0.1, atol=0.5))
    np.testing.assert_allclose(scaled, error / (0.5 + 0.1 * 5.0), rtol=1e-15)


@DTYPES
@SIZES
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_non_finite_component_is_found_anywhere(dtype, n, bad):
    x = random(dtype, n)
    assert rk.nonfinite_find(x) == -1
    for i in range(n):
        y = x.copy()
        y[i:] = bad
        assert rk.nonfinite_find(y) == i


@DTYPES
@SIZES
def test_the_worst_component_is_the_one_of_largest_modulus(dtype, n):
    x = random(dtype, n)
    assert rk.worst_find(x) == (int(np.argmax(np.abs(x))) if n else -1)


@ALL
@DTYPES
@pytest.mark.parametrize("n", [0, 1, 3, 8, 33])
def test_dense_output_equals_its_twin(method, dtype, n):
    y, K = random(dtype, n), random(dtype, method.dense_stages, n, seed=1)
    for theta in (0.0, 0.3, 1.0):
        twin = interpolation.dense_output(y, K, 0.1, method, theta)
        close(rk.dense_output(y, K, 0.1, method, theta), twin, ulps=100)


@ALL
@DTYPES
@pytest.mark.parametrize("n", [0, 1, 2, 7, 33])
def test_one_step_equals_its_twin_to_1e_13(method, dtype, n):
    y = random(dtype, n)

    def fun(t, y):
        return (np.sin(y) - y * np.asarray(t, y.real.dtype)).astype(dtype)

    K, K_twin = np.zeros((2, method.dense_stages, n), dtype)
    f = fun(0.4, y)
    y_new = rk.rk_step(fun, 0.4, y, f, -0.2, method, K, Control())
    y_twin = stepper.rk_step(fun, 0.4, y, f, -0.2, method, K_twin)
    K_twin[method.rows - 1] = fun(0.4 - 0.2, y_twin)
    tol = 1e-13 if np.finfo(dtype).eps < 1e-10 else 1e-5
    assert np.linalg.norm(y_new - y_twin) <= tol * max(np.linalg.norm(y_twin), 1e-300)
    assert np.linalg.norm(K - K_twin) <= 10 * tol * max(np.linalg.norm(K_twin), 1e-300)


@pytest.mark.parametrize("order", [2, 4])
def test_controller_factors_equal_their_twins(order):
    c = Control(safety=0.8, min_factor=0.3, max_factor=4.0)
    for norm in (0.0, 1e-9, 1e-3, 0.2, 1.0):
        for previous in (1e-4, 0.1, 1.0):
            twin = control.accept_factor(norm, (previous, 1e-4), c, order)
            assert rk.accept_factor(norm, (previous, 1e-4), c, order) == pytest.approx(twin, rel=1e-15)
            assert 0.3 <= twin <= 4.0
    for norm in (1.001, 2.0, 1e9):
        twin = control.reject_factor(norm, c, order)
        assert rk.reject_factor(norm, c, order) == pytest.approx(twin, rel=1e-15)
        assert 0.3 <= twin < 1.0


def test_controller_is_that_of_dopri5():
    norm, previous = (
        0.3,
        0.02,
    )  # FAC of the Fortran code: FAC11 = ERR**(0.2 - 0.75 beta), FAC = FAC11 / FACOLD**beta
    fac = norm ** (0.2 - 0.04 * 0.75) / previous**0.04 / 0.9
    assert rk.accept_factor(norm, (previous, 1e-4), Control(), 4) == pytest.approx(1.0 / fac, rel=1e-14)
    assert rk.reject_factor(3.0, Control(), 4) == pytest.approx(0.9 / 3.0**0.17, rel=1e-14)


@DTYPES
@pytest.mark.parametrize("n", [0, 1, 5, 33])
@pytest.mark.parametrize("t_end", [2.0, -2.0])
def test_first_step_equals_its_twin(dtype, n, t_end):
    t, y, method = np.array([0.5, t_end]), random(dtype, n), tableau("dopri5")

    def fun(t, y):
        return (-3 * y + np.asarray(t, y.real.dtype)).astype(dtype)

    for c in (Control(), Control(max_step=1e-4), Control(n_norm=n // 2), Control(min_step=1.0)):
        h = rk.first_step(fun, t, y, fun(0.5, y), c, method)
        twin = control.first_step(fun, t, y, fun(0.5, y), c, 4)
        assert h == pytest.approx(twin, rel=1e-12 if np.finfo(dtype).eps < 1e-10 else 1e-4)
        assert c.min_step <= h <= c.max_step


def test_first_step_is_hairers_for_exponential_decay():
    """d0 = |y|/sc, d1 = |f|/sc, d2 = |f1 - f|/sc/h0 by hand for y' = -2 y, y = 1."""
    c, y, t = Control(rtol=1e-3, atol=1e-3), np.array([1.0]), np.array([0.0, 100.0])
    sc, h0 = 2e-3, 0.01 * 1.0 / 2.0
    d1, d2 = 2.0 / sc, 4.0 / sc  # f1 - f = -2 (-2 h0)
    expected = min(100 * h0, (0.01 / max(d1, d2)) ** (1 / 5))
    assert rk.first_step(lambda t, y: -2.0 * y, t, y, -2.0 * y, c, tableau("dopri5")) == pytest.approx(expected)


@pytest.mark.parametrize("x", [np.zeros((2, 2)), np.zeros(6)[::2], [1.0, 2.0], np.zeros(3, ">f8")])
def test_kernels_refuse_arrays_they_cannot_read(x):
    with pytest.raises(TypeError, match="scaled must be a C-contiguous array of 1 dimensions, got"):
        rk.rms(x)


def test_kernels_refuse_integers():
    with pytest.raises(TypeError, match="must be float32, float64, complex64 or complex128, got int64"):
        rk.rms(np.arange(3))


def test_build_info_names_an_instruction_set_that_was_compiled():
    info = build_info()
    assert info["isa"] in info["isas"]
    assert info["isas"][0] == "baseline"
    assert info["compiler"]
