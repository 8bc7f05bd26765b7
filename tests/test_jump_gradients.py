"""Gradients by the times of jump_t: how a jump that moves takes the solution with it (saltation)."""

import numpy as np
import pytest

import node_core as nc


@pytest.mark.parametrize("gradient", ["discrete", "adjoint", "interpolated", "forward"])
@pytest.mark.parametrize("sign", [1.0, -1.0], ids=["forward", "backward"])
def test_gradients_reach_the_times_of_the_jumps(gradient, sign):
    """y' = -k y until p, then b - k y until q, then -k y: closed form, in each time direction."""
    k, b, p, q, end, y0 = 0.7, 1.9, 0.4, 1.1, 2.0, 1.3

    def final(y0, b, p, q):
        def func(t, y, b, p, q):
            s = sign * t
            return sign * (np.where((s > p) & (s < q), b, 0.0) - k * y)

        jumps = [sign * q, sign * p]
        return nc.odeint(func, y0, [0.0, sign * 0.2, sign * end], args=(b, p, q), jump_t=jumps, gradient=gradient,
                         rtol=1e-11, atol=1e-12)[-1]  # fmt: skip

    found = nc.grad(final, (0, 1, 2, 3))(np.array(y0), b, p, q)
    at_p, at_q = np.exp(-k * (end - p)), np.exp(-k * (end - q))
    wanted = [np.exp(-k * end), (at_q - at_p) / k, -b * at_p, b * at_q]
    np.testing.assert_allclose(found, wanted, rtol=1e-9)


@pytest.mark.parametrize("gradient", ["discrete", "adjoint", "interpolated", "forward"])
def test_an_output_at_the_time_of_a_jump_is_one_before_it(gradient):
    """y' = 1, from j on 3: y(t) = t until then, and t + 2 (t - j) behind."""

    def ys(j, t):
        return nc.odeint(lambda t, y, j: np.where(t < j, 1.0, 3.0) + 0.0 * y, np.array(0.0), t, args=(j,), jump_t=[j],
                         gradient=gradient, rtol=1e-9, atol=1e-9)  # fmt: skip

    t = np.array([0.0, 0.3, 0.5, 0.8, 1.0])
    found = nc.jacobian(ys, (0, 1))(0.5, t)
    np.testing.assert_allclose(found[0], [0, 0, 0, -2, -2], atol=1e-7)
    wanted = np.diag([0.0, 1, 1, 3, 3])
    wanted[1:, 0] = -1.0
    np.testing.assert_allclose(found[1], wanted, atol=1e-7)


def test_second_derivatives_reach_the_times_of_the_jumps():
    """y' = 1 until p, then -y: y(2) = p exp(p - 2)."""

    def final(p):
        return nc.odeint(lambda t, y, p: np.where(t < p, 1.0, -y), np.array(0.0), [0.0, 2.0], args=(p,), jump_t=[p],
                         rtol=1e-11, atol=1e-12)[-1]  # fmt: skip

    p = 0.8
    assert abs(nc.grad(nc.grad(final))(p) - (2 + p) * np.exp(p - 2)) < 1e-8
    assert abs(nc.jvp(final, (p,), (1.0,))[1] - (1 + p) * np.exp(p - 2)) < 1e-9
