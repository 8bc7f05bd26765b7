"""Convolutions in Programs against NumPy: every geometry, both precisions, whole layers, and solves."""

import os
import re
import subprocess
import sys
import warnings

import numpy as np
import pytest

import node_core as nc
from node_core.autodiff.convolution import CONV2D, CONV2D_INPUT, CONV2D_WEIGHT
from node_core.program.compiled import Compiled
from tests.test_convolution import GEOMETRIES

MORE = [
    ((9, 17, 9, 7), (70, 17, 3, 3), (1, 1), (1, 1)),  # columns beyond a panel; a last tile that is not full
    ((33, 5, 6, 6), (37, 5, 3, 3), (2, 1), (1, 2)),
    ((65, 40, 6, 6), (16, 40, 3, 3), (1, 1), (1, 1)),  # several blocks of images, the last of them smaller
    ((700, 3, 1, 1), (20, 3, 1, 1), (1, 1), (0, 0)),
    ((2, 3, 4, 4), (2, 3, 1, 1), (1, 1), (2, 1)),  # places that see nothing
    ((2, 0, 4, 4), (3, 0, 3, 3), (1, 1), (1, 1)),
    ((2, 3, 4, 4), (0, 3, 3, 3), (1, 1), (1, 1)),
    ((3, 2, 40, 40), (3, 2, 5, 3), (1, 2), (2, 0)),
    ((65, 40, 6, 6), (16, 40, 3, 3), (2, 2), (1, 1)),  # the same by direct products, and with more columns
    ((9, 17, 9, 7), (70, 17, 5, 3), (1, 1), (1, 1)),
]
WINOGRAD = [  # 3 by 3, stride 1, at least 8 channels; even and odd sizes, all paddings
    ((9, 17, 9, 7), (70, 17, 3, 3), (1, 1), (2, 1)),
    ((5, 16, 5, 8), (9, 16, 3, 3), (1, 1), (0, 2)),
    ((3, 8, 3, 3), (8, 8, 3, 3), (1, 1), (0, 0)),
    ((1, 8, 1, 2), (8, 8, 3, 3), (1, 1), (1, 1)),
    ((0, 8, 3, 3), (8, 8, 3, 3), (1, 1), (0, 0)),
    ((33, 24, 6, 6), (64, 24, 3, 3), (1, 1), (1, 1)),
    ((7, 9, 8, 4), (12, 9, 3, 3), (1, 1), (1, 1)),
]
TOLERANCE = {np.float64: 1e-12, np.float32: 1e-5}


def compiled(function, *args):
    """What the Program computes; without one there is a warning, and so an error."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return Compiled(function)(*args)


def assert_near(got, wanted, dtype):
    """To `TOLERANCE` of the largest number."""
    for g, w in zip(nc.tree.flatten(got)[0], nc.tree.flatten(wanted)[0], strict=True):
        assert (np.shape(g), np.asarray(g).dtype) == (np.shape(w), np.dtype(dtype))
        np.testing.assert_allclose(g, w, rtol=0, atol=TOLERANCE[dtype] * np.max(np.abs(w), initial=1e-30))


def three(x_shape, w_shape, stride, padding, dtype):
    """(function, arguments) of the convolution and of its two transposes."""
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal(x_shape).astype(dtype), rng.standard_normal(w_shape).astype(dtype)
    p = {"stride": stride, "padding": padding}
    g = rng.standard_normal(CONV2D(x, w, **p).shape).astype(dtype)
    return [
        (lambda x, w: CONV2D(x, w, **p), (x, w)),
        (lambda g, w: CONV2D_INPUT(g, w, size=x_shape[2:], **p), (g, w)),
        (lambda x, g: CONV2D_WEIGHT(x, g, kernel=w_shape[2:], **p), (x, g)),
    ]


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("geometry", GEOMETRIES + MORE + WINOGRAD, ids=str)
def test_a_convolution_and_its_transposes_as_programs_equal_numpy(geometry, dtype):
    for function, args in three(*geometry, dtype):
        assert_near(compiled(function, *args), function(*args), dtype)


@pytest.mark.parametrize("isa", ["baseline", "avx2"])
def test_the_kernels_of_the_other_instruction_sets_equal_numpy(isa):
    code = (
        "import numpy as np\n"
        "from tests.test_convolution_programs import GEOMETRIES, MORE, WINOGRAD, assert_near, compiled, three\n"
        "for geometry in GEOMETRIES + MORE + WINOGRAD:\n"
        "    for dtype in (np.float64, np.float32):\n"
        "        for function, args in three(*geometry, dtype):\n"
        "            assert_near(compiled(function, *args), function(*args), dtype)\n"
    )
    env = {**os.environ, "NODE_CORE_ISA": isa}
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, env=env)
    if "NODE_CORE_ISA" in ran.stderr:
        pytest.skip(f"this processor has no {isa}")
    assert ran.returncode == 0, ran.stderr


def test_wide_3_by_3_kernels_are_transformed_and_others_are_not():
    for geometry, transformed in ((WINOGRAD[0], True), (MORE[-1], False), (MORE[-2], False), (MORE[1], False)):
        for (function, args), name in zip(three(*geometry, float), ("conv", "conv", "conv_weight"), strict=True):
            listing = nc.compile(function).listing(*args)
            assert (f"winograd{name[4:]}(" in listing) == transformed
            assert (f" {name}(" in listing) != transformed


def test_tiles_are_of_the_size_that_multiplies_least():
    for geometry, elements in ((WINOGRAD[-1], 16), (WINOGRAD[-2], 25), (WINOGRAD[0], 25), (WINOGRAD[2], 16)):
        (function, args), _, _ = three(*geometry, float)
        assert f" tiles, {elements} x (" in nc.compile(function).listing(*args)


def test_transformed_kernels_are_made_once_a_solve_and_their_gradient_is_added_up():
    conv, rng = nc.nn.Conv2d(8, 8, 3, padding=1), np.random.default_rng(0)
    field, y0 = nc.compile(lambda t, y, params: np.tanh(conv(params, y))), rng.standard_normal((3, 8, 5, 4))

    def gradient(field, backend):
        def loss(p):
            return np.sum(nc.odeint(field, y0, [0.0, 0.4, 1.0], args=(p,), method="rk4", backend=backend) ** 2)

        return nc.grad(loss)(conv.init(1))

    got, wanted = gradient(field, "compiled"), gradient(field, "callback")
    for name in ("W", "b"):
        np.testing.assert_allclose(got[name], wanted[name], rtol=0, atol=1e-11 * np.max(np.abs(wanted[name])))
    texts = [found.program.listing() for programs in field._fields.values() for found in programs.values()]
    (text,) = [t for t in texts if "parameters:" in t]
    once, rest = text[text.index("once:") :].split("forward:")
    assert once.count("winograd_kernel(") == 2
    assert "winograd_kernel(" not in rest
    assert "parameters += winograd_weight(" in rest


def test_operands_that_are_views_need_no_copy_but_the_weights():
    rng = np.random.default_rng(1)
    x, w = rng.standard_normal((5, 3, 4, 6)), rng.standard_normal((3, 3, 4, 2))

    def f(x, w):
        x = np.transpose(x[::-1, :, ::2], (0, 3, 1, 2))  # (5, 6, 3, 2)
        return CONV2D(x[:, 1::2], np.transpose(w, (2, 0, 1, 3)), stride=(1, 1), padding=(1, 1))

    assert_near(compiled(f, x, w), f(x, w), np.float64)
    assert "copy_of" not in nc.compile(f).listing(x, w)


def test_operands_of_a_transformed_convolution_may_be_views_too():
    rng = np.random.default_rng(1)
    x, w = rng.standard_normal((5, 6, 4, 9)), rng.standard_normal((3, 3, 8, 10))

    def f(x, w):
        x = np.transpose(x[::-1, :, ::2], (0, 3, 1, 2))[:, 1:]  # (5, 8, 6, 2)
        return CONV2D(x, np.transpose(w, (3, 2, 0, 1))[1:, ::-1], stride=(1, 1), padding=(1, 1))

    assert_near(compiled(f, x, w), f(x, w), np.float64)


def test_a_part_of_each_row_is_transformed_row_by_row():
    rng = np.random.default_rng(1)
    x, w = rng.standard_normal((3, 10, 5, 9)), rng.standard_normal((8, 10, 3, 3))

    def f(x, w):
        return CONV2D(x[:, :, 1:, 2:], w, stride=(1, 1), padding=(1, 0))

    assert_near(compiled(f, x, w), f(x, w), np.float64)
    assert "copy_of" not in nc.compile(f).listing(x, w)


def test_a_broadcast_image_is_convolved():
    w = np.random.default_rng(1).standard_normal((2, 3, 3, 3))

    def f(t, w):
        return CONV2D(np.broadcast_to(t, (2, 3, 4, 4)), w, stride=(1, 1), padding=(1, 1))

    assert_near(compiled(f, np.float64(0.3), w), f(0.3, w), np.float64)


def net(dtype):
    conv, norm, act = nc.nn.Conv2d, nc.nn.GroupNorm, nc.nn.relu
    return nc.nn.Sequential(
        conv(2, 4, 3, padding=1, dtype=dtype), norm(2, 4, dtype=dtype), act,
        nc.nn.ResidualBlock(4, 6, stride=2, groups=2, dtype=dtype), nc.nn.AvgPool2d(2), nc.nn.Flatten(),
        nc.nn.Linear(6, 3, dtype=dtype),
    )  # fmt: skip


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_a_whole_classifier_and_its_gradient_are_one_program(dtype):
    layers, rng = net(dtype), np.random.default_rng(0)
    x, labels = rng.standard_normal((5, 2, 5, 5)).astype(dtype), np.arange(5) % 3
    params = nc.tree.map(lambda p: rng.standard_normal(p.shape).astype(dtype), layers.init(0))

    def step(params, x):
        return nc.value_and_grad(lambda p: np.mean(nc.nn.softmax_cross_entropy(layers(p, x), labels)))(params)

    (got, got_grads), (wanted, wanted_grads) = compiled(step, params, x), step(params, x)
    assert got == pytest.approx(wanted, rel=100 * TOLERANCE[dtype])
    for g, w in zip(nc.tree.flatten(got_grads)[0], nc.tree.flatten(wanted_grads)[0], strict=True):
        np.testing.assert_allclose(g, w, rtol=0, atol=20 * TOLERANCE[dtype] * np.max(np.abs(w)))


@pytest.mark.parametrize("cell", [nc.nn.RNNCell(3, 4), nc.nn.GRUCell(3, 4)], ids=repr)
def test_cells_and_likelihoods_are_programs(cell):
    rng = np.random.default_rng(0)
    params, xs = nc.tree.map(np.asarray, cell.init(0)), rng.standard_normal((3, 2, 3))

    def step(params, xs):
        h = cell.start(2)
        for k in range(3):
            h = cell(params, h, xs[k])
        loss = nc.nn.gaussian_log_likelihood(xs[0], 0.0, h[:, :3]) + nc.nn.bernoulli_log_likelihood(1.0, h[:, 1:])
        return np.sum(loss + nc.nn.poisson_log_likelihood(np.array([0, 1, 2]), h[:, :3]))

    function = nc.value_and_grad(step)
    assert_near(compiled(function, params, xs), function(params, xs), np.float64)


@pytest.mark.parametrize("gradient", ["discrete", "adjoint"])
@pytest.mark.parametrize("method", ["dopri5", "rk4"])
def test_solves_of_a_convolutional_field_equal_those_of_the_python_path(gradient, method):
    norm, conv, rng = nc.nn.GroupNorm(2, 4), nc.nn.TimeConv2d(4, 4, 3, padding=1), np.random.default_rng(0)
    params, y0 = [norm.init(0), conv.init(0)], rng.standard_normal((3, 4, 5, 5))

    act = nc.nn.relu if method == "rk4" else np.tanh  # at a kink, rounding may decide whether a step is taken

    def field(t, y, params):
        return conv(params[1], t, act(norm(params[0], y)))

    def loss(params, y0, backend):
        y = nc.odeint(field, y0, [0.0, 0.5, 1.0], args=(params,), method=method, gradient=gradient, backend=backend)
        return np.sum(y**2)

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        got = nc.value_and_grad(loss, argnums=(0, 1))(params, y0, "compiled")
    wanted = nc.value_and_grad(loss, argnums=(0, 1))(params, y0, "callback")
    for g, w in zip(nc.tree.flatten(got)[0], nc.tree.flatten(wanted)[0], strict=True):
        np.testing.assert_allclose(g, w, rtol=0, atol=1e-9 * np.max(np.abs(w)))


def test_a_weights_gradient_is_added_up_where_it_is_made_and_kernels_are_packed_once_a_solve():
    conv = nc.nn.Conv2d(2, 2, 3, padding=1, bias=False)
    field = nc.compile(lambda t, y, params: np.tanh(conv(params, y)))
    nc.grad(lambda p: np.sum(nc.odeint(field, np.ones((1, 2, 4, 4)), [0.0, 1.0], args=(p,))))(conv.init(0))
    texts = [found.program.listing() for programs in field._fields.values() for found in programs.values()]
    (text,) = [t for t in texts if "parameters:" in t]
    once, rest = text[text.index("once:") :].split("forward:")
    assert (
        once.count("kernel_parameters[0]+0[144, 48, 16, 1] = ") == 2
    )  # for the convolution, and turned for the way back
    assert not re.search(r"kernel\S+ = ", rest)
    assert re.search(r"parameters \+= conv_weight", rest)


def test_a_sum_over_images_and_places_runs_along_the_memory_twice():
    def f(x):
        return np.sum(x, axis=(0, 2, 3)), np.max(x, axis=(0, 2))

    x = np.random.default_rng(0).standard_normal((5, 3, 4, 2))
    assert_near(compiled(f, x), f(x), np.float64)
    assert "copy_of" not in nc.compile(lambda x: np.sum(x, axis=(0, 2, 3))).listing(x)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize(("lines", "n"), [(1, 3), (4, 4), (5, 7), (8, 36), (11, 255), (9, 256), (3, 1), (4, 0)])
def test_sums_of_lines_equal_numpys(lines, n, dtype):
    x = np.random.default_rng(0).standard_normal((lines, n)).astype(dtype)

    def f(x):
        return np.sum(x, axis=1), np.sum(x[::-1, : n // 2], axis=1)

    assert_near(compiled(f, x), f(x), dtype)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize(("rows", "columns"), [(1, 1), (4, 4), (5, 7), (8, 3), (3, 9), (17, 18)])
def test_a_transposed_copy_moves_every_element(rows, columns, dtype):
    x = np.arange(3 * rows * columns, dtype=dtype).reshape(3, rows, columns)

    def f(x):
        return np.concatenate([np.swapaxes(x, 1, 2), np.swapaxes(x, 1, 2)], axis=0)

    np.testing.assert_array_equal(compiled(f, x), f(x))


def test_every_buffer_has_a_place_even_an_empty_one():
    for geometry in GEOMETRIES:
        for function, args in three(*geometry, np.float64):
            compiled_function = nc.compile(function)
            compiled_function(*args)
            for kept in compiled_function._plain.values():
                for step in kept.sequence.steps:
                    for ops in step.program.body.lowered.operations:
                        for op in ops:
                            assert all(b.base >= 0 for b in (*op.reads(), *op.writes()))
