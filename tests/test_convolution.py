"""conv2d and its two transposes in Python: against SciPy, against loops, and against each other."""

import numpy as np
import pytest

import node_core as nc
from node_core.autodiff.convolution import CONV2D, CONV2D_INPUT, CONV2D_WEIGHT
from node_core.nn import conv2d

# x (N, C, H, W), w (O, C, kh, kw), stride, padding
GEOMETRIES = [
    ((2, 3, 6, 6), (4, 3, 3, 3), (1, 1), (1, 1)),
    ((2, 3, 7, 5), (4, 3, 3, 3), (2, 2), (1, 1)),
    ((1, 2, 5, 8), (3, 2, 2, 4), (2, 3), (0, 2)),
    ((3, 2, 8, 8), (2, 2, 3, 3), (3, 3), (0, 0)),  # rows and columns that no window sees
    ((2, 5, 4, 4), (7, 5, 1, 1), (1, 1), (0, 0)),
    ((2, 5, 4, 4), (7, 5, 1, 1), (2, 2), (0, 0)),  # a kernel smaller than its stride
    ((1, 1, 1, 1), (1, 1, 1, 1), (1, 1), (0, 0)),
    ((1, 1, 2, 2), (1, 1, 3, 3), (1, 1), (2, 2)),
    ((4, 3, 3, 3), (2, 3, 3, 3), (1, 1), (0, 0)),  # one place
    ((0, 3, 4, 4), (2, 3, 3, 3), (1, 1), (1, 1)),
]


def by_loops(x, w, stride, padding):
    """The definition, written out."""
    (ph, pw), (sh, sw), (kh, kw) = padding, stride, w.shape[2:]
    frame = np.pad(x, ((0, 0), (0, 0), (ph, ph), (pw, pw)))
    rows, columns = (frame.shape[2] - kh) // sh + 1, (frame.shape[3] - kw) // sw + 1
    y = np.zeros((x.shape[0], w.shape[0], rows, columns))
    for n, o, p, q in np.ndindex(*y.shape):
        y[n, o, p, q] = np.sum(frame[n, :, p * sh : p * sh + kh, q * sw : q * sw + kw] * w[o])
    return y


@pytest.mark.parametrize(("x_shape", "w_shape", "stride", "padding"), GEOMETRIES)
def test_conv2d_is_the_sum_over_windows(x_shape, w_shape, stride, padding):
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal(x_shape), rng.standard_normal(w_shape)
    y = conv2d(x, w, stride=stride, padding=padding)
    np.testing.assert_allclose(y, by_loops(x, w, stride, padding), rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("mode", ["valid", "same", "full"])
def test_conv2d_equals_scipy_in_its_three_modes(mode):
    signal = pytest.importorskip("scipy.signal")
    rng = np.random.default_rng(1)
    x, w = rng.standard_normal((1, 1, 7, 6)), rng.standard_normal((1, 1, 5, 3))
    padding = {"valid": 0, "same": (2, 1), "full": (4, 2)}[mode]
    wanted = signal.correlate2d(x[0, 0], w[0, 0], mode)
    np.testing.assert_allclose(conv2d(x, w, padding=padding)[0, 0], wanted, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize(("x_shape", "w_shape", "stride", "padding"), GEOMETRIES)
def test_the_two_transposes_are_those_of_one_trilinear_form(x_shape, w_shape, stride, padding):
    """<g, conv(x, w)> = <conv_input(g, w), x> = <conv_weight(x, g), w>."""
    rng = np.random.default_rng(2)
    x, w = rng.standard_normal(x_shape), rng.standard_normal(w_shape)
    y = CONV2D(x, w, stride=stride, padding=padding)
    g = rng.standard_normal(y.shape)
    value = np.sum(g * y)
    back = CONV2D_INPUT(g, w, stride=stride, padding=padding, size=x_shape[2:])
    weight = CONV2D_WEIGHT(x, g, stride=stride, padding=padding, kernel=w_shape[2:])
    assert (back.shape, weight.shape) == (x_shape, w_shape)
    assert np.sum(back * x) == pytest.approx(value, rel=1e-11)
    assert np.sum(weight * w) == pytest.approx(value, rel=1e-11)


@pytest.mark.parametrize(("x_shape", "w_shape", "stride", "padding"), GEOMETRIES[1:4])
def test_conv2d_has_derivatives_of_two_orders(x_shape, w_shape, stride, padding):
    rng = np.random.default_rng(3)
    x, w = rng.standard_normal((1, *x_shape[1:])), rng.standard_normal(w_shape)
    nc.check_grads(lambda x, w: np.tanh(conv2d(x, w, stride=stride, padding=padding)), (x, w), order=2)


def test_jvp_and_vjp_of_conv2d_are_transposes():
    rng = np.random.default_rng(4)
    x, w, dx, dw = (rng.standard_normal(s) for s in ((2, 3, 5, 5), (2, 3, 3, 3)) * 2)

    def f(x, w):
        return conv2d(x, w, stride=2, padding=1)

    y, dy = nc.jvp(f, (x, w), (dx, dw))
    g = rng.standard_normal(y.shape)
    gx, gw = nc.vjp(f, x, w)[1](g)
    assert np.sum(g * dy) == pytest.approx(np.sum(gx * dx) + np.sum(gw * dw), rel=1e-12)


def test_float32_stays_float32():
    x, w = np.ones((1, 2, 3, 3), np.float32), np.ones((2, 2, 3, 3), np.float32)
    assert conv2d(x, w).dtype == np.float32
    assert {g.dtype for g in nc.grad(lambda p: np.sum(conv2d(*p) ** 2))((x, w))} == {np.dtype(np.float32)}


def test_conv2d_says_what_came_and_what_is_wanted():
    x, w = np.ones((1, 2, 3, 3)), np.ones((4, 2, 3, 3))
    with pytest.raises(ValueError, match=r"conv2d: x must be \(N, 2, H, W\), got shape \(1, 3, 3, 3\)"):
        conv2d(np.ones((1, 3, 3, 3)), w)
    with pytest.raises(ValueError, match=r"conv2d: x must be \(N, 2, H, W\), got shape \(2, 3, 3\)"):
        conv2d(x[0], w)
    with pytest.raises(ValueError, match=r"conv2d: w must be \(O, C, kh, kw\).*got shape \(2, 3, 3\)"):
        conv2d(x, w[0])
    with pytest.raises(ValueError, match=r"got shape \(4, 2, 0, 3\)"):
        conv2d(x, w[:, :, :0])
    with pytest.raises(ValueError, match=r"kernel \(3, 3\) is larger than the image \(2, 3\) with padding \(0, 0\)"):
        conv2d(x[:, :, :2], w)
    with pytest.raises(ValueError, match=r"conv2d: stride must be an int of at least 1 or a pair of them, got 0"):
        conv2d(x, w, stride=0)
    with pytest.raises(
        ValueError, match=r"conv2d: padding must be an int of at least 0 or a pair of them, got \(1, -1\)"
    ):
        conv2d(x, w, padding=(1, -1))
    with pytest.raises(ValueError, match=r"conv2d: stride must be .* got 1.5"):
        conv2d(x, w, stride=1.5)
