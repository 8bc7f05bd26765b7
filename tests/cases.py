"""Sample calls of every NumPy function that has a derivative, shared by the tests that go over the table.

CASES[function] is a list of ``(call, domain, *shapes)``: `call` takes one array a shape, drawn from `domain`:
"real" N(0, 1), "positive" (0.5, 2), "unit" (-0.9, 0.9), "above" (1.5, 3); "complex" also tries complex numbers
with both parts from there (alone, N(0, 1)), and is left out only where NumPy refuses them.

After the table: a net, its parameters and the comparison that the tests of Programs share.
"""

# ruff: noqa: E501, RUF005 - a table reads along its rows

import numpy as np

from node_core import autodiff, models, tree
from node_core.autodiff.convolution import CONV2D, CONV2D_INPUT, CONV2D_WEIGHT

INDEX = np.array([[0, 2], [1, 0]])
MASK = np.array([[True, False, True], [False, True, True]])


def masked(x):
    """The one sample whose shape depends on values: no graph can stand for it."""
    return x[x > 0]


def spd(a):
    """A positive definite matrix from any square one."""
    return a @ np.conj(np.swapaxes(a, -1, -2)) + 3 * np.eye(a.shape[-1])


def regular(a):
    """An invertible matrix from any square one."""
    return a + 3 * np.eye(a.shape[-1])


def convolution(primitive, **params):
    return lambda *operands: primitive(*operands, **params)


def unary(function, domain="complex", *more):
    return [(function, domain, (2, 3)), (function, domain, ()), (function, domain, (0,)), *more]


def binary(function, domain="complex"):
    return [
        (function, domain, (2, 3), (2, 3)),
        (function, domain, (2, 3), (3,)),
        (function, domain, (2, 1), (1, 3)),
        (function, domain, (), (2,)),
        (lambda x: function(x, 1.25), domain, (3,)),
        (lambda x: function(1.25, x), domain, (3,)),
    ]


def reduction(function, domain="complex"):
    return [
        (function, domain, (2, 3)),
        (lambda x: function(x, axis=1), domain, (2, 3)),
        (lambda x: function(x, axis=-2, keepdims=True), domain, (2, 3, 2)),
        (lambda x: function(x, axis=(0, 2)), domain, (2, 3, 2)),
    ]


CASES = {
    np.add: binary(np.add, "complex"),
    np.subtract: binary(np.subtract, "complex"),
    np.multiply: binary(np.multiply, "complex"),
    np.divide: binary(np.divide, "complex above"),
    np.power: binary(np.power, "complex positive")
    + [
        (lambda x: x**2, "complex", (3,)),
        (lambda x: x**3, "complex", (3,)),
        (lambda x: x**0, "complex", (3,)),
        (lambda x: x**-1.5, "complex positive", (3,)),
        (lambda x: 2.0**x, "complex", (3,)),
    ],
    np.negative: unary(np.negative, "complex"),
    np.positive: unary(np.positive, "complex"),
    np.remainder: binary(np.remainder, "positive"),
    np.fmod: binary(np.fmod, "positive"),
    np.divmod: [(lambda x, y: np.divmod(x, y)[1] * (1.0 + np.divmod(x, y)[0]), "positive", (2, 3), (3,)), (lambda x: divmod(2.0, x)[1] + divmod(x, 0.3)[1], "positive", (3,))],
    np.exp: unary(np.exp, "complex"),
    np.exp2: unary(np.exp2, "complex"),
    np.expm1: unary(np.expm1, "complex"),
    np.log: unary(np.log, "complex positive"),
    np.log2: unary(np.log2, "complex positive"),
    np.log10: unary(np.log10, "complex positive"),
    np.log1p: unary(np.log1p, "complex positive"),
    np.logaddexp: binary(np.logaddexp, "real"),
    np.logaddexp2: binary(np.logaddexp2, "real"),
    np.sqrt: unary(np.sqrt, "complex positive"),
    np.cbrt: unary(np.cbrt, "positive"),
    np.square: unary(np.square, "complex"),
    np.reciprocal: unary(np.reciprocal, "complex positive"),
    np.sin: unary(np.sin, "complex"),
    np.cos: unary(np.cos, "complex"),
    np.tan: unary(np.tan, "complex unit"),
    np.arcsin: unary(np.arcsin, "complex unit"),
    np.arccos: unary(np.arccos, "complex unit"),
    np.arctan: unary(np.arctan, "complex unit"),
    np.arctan2: binary(np.arctan2, "positive"),
    np.hypot: binary(np.hypot, "positive"),
    np.sinh: unary(np.sinh, "complex"),
    np.cosh: unary(np.cosh, "complex"),
    np.tanh: unary(np.tanh, "complex unit"),
    np.arcsinh: unary(np.arcsinh, "complex unit"),
    np.arccosh: unary(np.arccosh, "complex above"),
    np.arctanh: unary(np.arctanh, "complex unit"),
    np.deg2rad: unary(np.deg2rad, "real"),
    np.rad2deg: unary(np.rad2deg, "real"),
    np.radians: unary(np.radians, "real"),
    np.degrees: unary(np.degrees, "real"),
    np.maximum: binary(np.maximum),
    np.minimum: binary(np.minimum),
    np.fmax: binary(np.fmax),
    np.fmin: binary(np.fmin),
    np.absolute: unary(np.absolute, "complex"),
    np.fabs: unary(np.fabs, "real"),
    np.sign: unary(np.sign, "complex"),
    np.heaviside: [(lambda x: np.heaviside(x, 0.5), "real", (3,))],
    np.conjugate: unary(np.conjugate, "complex"),
    np.vecdot: [(np.vecdot, "complex", (2, 3), (3,))],
    np.where: [
        (lambda x, y: np.where(np.array([True, False, True]), x, y), "complex", (2, 3), (3,)),
        (lambda x: np.where(x > 0, x, 0.1 * x), "complex", (5,)),
        (lambda x: np.where(x > 0, 1.0, x * x), "complex", (5,)),
    ],
    np.clip: [
        (lambda x: np.clip(x, -0.5, 0.5), "complex", (6,)),
        (lambda x: np.clip(x, None, 0.5), "complex", (6,)),
        (np.clip, "complex", (6,), (), (6,)),
    ],
    np.real: unary(np.real, "complex"),
    np.imag: unary(np.imag, "complex"),
    np.angle: unary(np.angle, "complex positive") + [(lambda z: np.angle(z, deg=True), "complex positive", (3,))],
    np.sinc: unary(np.sinc) + [(lambda x: np.sinc(0.1 * x), "complex unit", (5,)), (lambda x: np.sinc(0 * x), "complex", (2,))],
    np.sum: reduction(np.sum, "complex")
    + [
        (np.sum, "complex", (0,)),
        (lambda x: np.sum(x, 0, None, None, True, x[0, 1], MASK), "complex", (2, 3)),
        (lambda x: np.sum(x, axis=1, dtype=complex) * 1j, "complex", (2, 3)),
    ],
    np.max: reduction(np.max)
    + [
        (lambda x: np.max(x, 1, None, True, 0.7 * x[0, 1], MASK), "complex", (2, 3)),
        (lambda x: np.max(x, initial=0.3), "complex", (2, 3)),
        (lambda x: np.max(x[:0], initial=x[0]), "complex", (2,)),
    ],
    np.min: reduction(np.min) + [(lambda x: np.min(x, 1, None, True, 0.7 * x[0, 1], MASK), "complex", (2, 3))],
    np.amax: reduction(np.amax),
    np.amin: reduction(np.amin),
    np.mean: reduction(np.mean, "complex")
    + [
        (lambda x: np.mean(x, 1, where=MASK), "complex", (2, 3)),
        (lambda x: np.mean(x, 0, None, None, True, where=MASK[:, :1]), "complex", (2, 3)),
        (lambda x: np.mean(x, dtype=complex) * 1j, "complex", (2, 3)),
    ],
    np.average: reduction(np.average)
    + [
        (lambda x, w: np.average(x, axis=0, weights=w), "complex positive", (2, 3), (2,)),
        (lambda x, w: np.average(x, weights=w), "complex positive", (2, 3), (2, 3)),
    ],
    np.var: reduction(np.var, "complex") + [(lambda x: np.var(x, ddof=1), "complex", (4,))],
    np.std: reduction(np.std, "complex"),
    np.ptp: reduction(np.ptp),
    np.prod: reduction(np.prod, "complex")
    + [
        (lambda x: np.prod(x * np.array([1.0, 0.0, 1.0])), "complex", (3,)),
        (lambda x: np.prod(x * np.array([1.0, 0.0, 0.0])), "complex", (3,)),
        (np.prod, "complex", (5,)),
        (lambda x: np.prod(x, 1, None, None, False, x[0, 1], MASK), "complex", (2, 3)),
        (lambda x: np.prod(x, dtype=complex) * 1j, "complex", (3,)),
    ],
    np.cumsum: [
        (np.cumsum, "complex", (2, 3)),
        (lambda x: np.cumsum(x, axis=1), "complex", (2, 3)),
        (lambda x: np.cumsum(x, axis=0), "complex", (2, 3)),
        (lambda x: np.cumsum(x, 0, complex) * 1j, "complex", (2, 3)),
    ],
    np.diff: [(np.diff, "complex", (5,)), (lambda x: np.diff(x, 2, axis=0), "complex", (4, 2))],
    np.trapezoid: [
        (np.trapezoid, "complex", (2, 4)),
        (np.trapezoid, "complex positive", (4,), (4,)),
        (lambda y, x: np.trapezoid(y, x, axis=0), "complex positive", (4, 2), (4,)),
    ],
    np.reshape: [(lambda x: np.reshape(x, (3, -1)), "complex", (2, 3)), (lambda x: np.reshape(x, 6), "complex", (2, 3))],
    np.ravel: unary(np.ravel, "complex"),
    np.transpose: unary(np.transpose, "complex", (lambda x: np.transpose(x, (1, 2, 0)), "complex", (2, 3, 4))),
    np.permute_dims: [(lambda x: np.permute_dims(x, (2, 0, 1)), "complex", (2, 3, 4))],
    np.swapaxes: [(lambda x: np.swapaxes(x, 0, -1), "complex", (2, 3, 4))],
    np.matrix_transpose: [(np.matrix_transpose, "complex", (2, 3, 4))],
    np.moveaxis: [
        (lambda x: np.moveaxis(x, 0, -1), "complex", (2, 3, 4)),
        (lambda x: np.moveaxis(x, (0, 2), (1, 0)), "complex", (2, 3, 4)),
    ],
    np.broadcast_to: [(lambda x: np.broadcast_to(x, (4, 2, 3)), "complex", (2, 1)), (lambda x: np.broadcast_to(x, (2,)), "complex", ())],
    np.expand_dims: [(lambda x: np.expand_dims(x, 1), "complex", (2, 3)), (lambda x: np.expand_dims(x, (0, -1)), "complex", (2,))],
    np.squeeze: [(np.squeeze, "complex", (1, 3, 1)), (lambda x: np.squeeze(x, 0), "complex", (1, 3, 1))],
    np.atleast_1d: unary(np.atleast_1d),
    np.atleast_2d: unary(np.atleast_2d),
    np.copy: unary(np.copy),
    np.concatenate: [
        (lambda x, y: np.concatenate([x, y]), "complex", (2, 3), (1, 3)),
        (lambda x, y: np.concatenate([x, y, x], axis=-1), "complex", (2, 3), (2, 1)),
        (lambda x, y: np.concatenate([x, y, np.ones(2)], axis=None), "complex", (2, 3), (1,)),
    ],
    np.stack: [
        (lambda x, y: np.stack([x, y]), "complex", (2, 3), (2, 3)),
        (lambda x, y: np.stack([x, y, np.ones((2, 3))], axis=-1), "complex", (2, 3), (2, 3)),
        (lambda x: np.stack([x[0], 1.0, x[1]]), "complex", (2,)),
    ],
    np.hstack: [(lambda x, y: np.hstack([x, y]), "complex", (2, 3), (2, 1)), (lambda x, y: np.hstack([x, y]), "complex", (), (2,))],
    np.vstack: [(lambda x, y: np.vstack([x, y]), "complex", (2, 3), (3,))],
    np.column_stack: [(lambda x, y: np.column_stack([x, y]), "complex", (2,), (2, 3))],
    np.append: [(np.append, "complex", (2,), (3,)), (lambda x, y: np.append(x, y, axis=0), "complex", (2, 2), (1, 2))],
    np.split: [
        (lambda x: np.split(x, 2)[1], "complex", (4, 2)),
        (lambda x: np.split(x, [1, 3], axis=1)[1] * np.split(x, [1, 3], axis=1)[2][:, :1], "complex", (2, 5)),
    ],
    np.array_split: [(lambda x: np.array_split(x, 2)[0], "complex", (4,))],
    np.flip: [(np.flip, "complex", (2, 3)), (lambda x: np.flip(x, 1), "complex", (2, 3)), (lambda x: np.flip(x, (0, 1)), "complex", (2, 3))],
    np.flipud: [(np.flipud, "complex", (2, 3))],
    np.fliplr: [(np.fliplr, "complex", (2, 3))],
    np.roll: [(lambda x: np.roll(x, 2), "complex", (2, 3)), (lambda x: np.roll(x, (1, -1), (0, 1)), "complex", (2, 3))],
    np.tile: [(lambda x: np.tile(x, 3), "complex", (2, 3)), (lambda x: np.tile(x, (2, 1, 2)), "complex", (2, 3))],
    np.repeat: [
        (lambda x: np.repeat(x, 3), "complex", (2, 3)),
        (lambda x: np.repeat(x, [1, 0, 2], axis=1), "complex", (2, 3)),
    ],
    np.pad: [
        (lambda x: np.pad(x, 2), "complex", (2, 3)),
        (lambda x: np.pad(x, ((1, 0), (0, 2)), constant_values=1.5), "complex", (2, 3)),
        *[(lambda x, mode=mode: np.pad(x, 1, mode=mode), "complex", (2, 3)) for mode in ("edge", "reflect", "symmetric", "wrap")],
    ],
    "getitem": [
        (lambda x: x[1], "complex", (2, 3)),
        (lambda x: x[..., None, ::2], "complex", (2, 3)),
        (lambda x: x[INDEX], "complex", (3, 2)),
        (lambda x: x[[0, 0, 1], 1:], "complex", (2, 3)),
        (lambda x: x[np.array([True, False, True])], "complex", (3, 2)),
        (masked, "complex", (3, 2)),
        (lambda x: x[-1, 0], "complex", (3, 2)),
        (lambda x: x[()], "complex", ()),
    ],
    np.take: [
        (lambda x: np.take(x, [1, 1, 0]), "complex", (2, 3)),
        (lambda x: np.take(x, INDEX, axis=1), "complex", (2, 3)),
        (lambda x: np.take(x, [5, -4], axis=0, mode="wrap"), "complex", (3, 2)),
        (lambda x: np.take(x, [5, -4], axis=0, mode="clip"), "complex", (3, 2)),
    ],
    np.take_along_axis: [(lambda x: np.take_along_axis(x, np.array([[2, 0], [1, 1]]), 1), "complex", (2, 3))],
    np.sort: [(np.sort, "complex", (2, 4)), (lambda x: np.sort(x, axis=0), "complex", (3, 2)), (lambda x: np.sort(x, axis=None), "complex", (3, 2))],
    np.diagonal: [(np.diagonal, "complex", (3, 4)), (lambda x: np.diagonal(x, 1, 0, 2), "complex", (3, 2, 3))],
    np.diag: [(np.diag, "complex", (3,)), (lambda x: np.diag(x, -1), "complex", (3,)), (lambda x: np.diag(x, 1), "complex", (3, 3))],
    np.trace: [(np.trace, "complex", (3, 4)), (lambda x: np.trace(x, -1), "complex", (3, 3))],
    np.triu: [(np.triu, "complex", (3, 4)), (lambda x: np.triu(x, 1), "complex", (2, 3, 3))],
    np.tril: [(np.tril, "complex", (3, 4)), (lambda x: np.tril(x, -1), "complex", (3, 3))],
    np.interp: [
        (lambda x, f: np.interp(x, np.linspace(-1, 1, 5), f), "real", (7,), (5,)),
        (lambda x, xp, f: np.interp(x, np.cumsum(xp) - 2, f), "positive", (3,), (4,), (4,)),
        (lambda x: np.interp(x, [0.0, 1.0], [0.0, 2.0], left=-1.0, right=5.0), "real", (6,)),
        (lambda x, f: np.interp(np.real(x), np.linspace(-1, 1, 5), f), "complex", (7,), (5,)),
    ],
    np.matmul: [
        (np.matmul, "complex", (2, 3), (3, 2)),
        (np.matmul, "complex", (3,), (3, 2)),
        (np.matmul, "complex", (2, 3), (3,)),
        (np.matmul, "complex", (3,), (3,)),
        (np.matmul, "complex", (2, 2, 3), (3, 2)),
        (np.matmul, "complex", (2, 2, 3), (3,)),
        (np.matmul, "complex", (3,), (2, 3, 2)),
        (np.matmul, "complex", (2, 1, 2, 3), (4, 3, 2)),
    ],
    np.dot: [
        (np.dot, "complex", (2, 3), (3, 2)),
        (np.dot, "complex", (3,), (3,)),
        (np.dot, "complex", (), (3,)),
        (np.dot, "complex", (2, 3), (2, 3, 2)),
        (lambda x: x.dot(x), "complex", (3,)),
    ],
    np.vdot: [(np.vdot, "complex", (2, 2), (2, 2))],
    np.inner: [(np.inner, "complex", (2, 3), (4, 3)), (np.inner, "complex", (3,), (3,)), (np.inner, "complex", (3,), ())],
    np.outer: [(np.outer, "complex", (2,), (3,)), (np.outer, "complex", (2, 2), ())],
    np.tensordot: [
        (np.tensordot, "complex", (2, 3, 4), (3, 4, 2)),
        (lambda x, y: np.tensordot(x, y, 0), "complex", (2,), (3,)),
        (lambda x, y: np.tensordot(x, y, ([0, 2], [1, 0])), "complex", (2, 3, 4), (4, 2)),
    ],
    np.kron: [(np.kron, "complex", (2, 3), (3, 2)), (np.kron, "complex", (2,), (2, 3))],
    np.einsum: [
        (lambda x, y: np.einsum("ij,jk->ik", x, y), "complex", (2, 3), (3, 2)),
        (lambda x, y: np.einsum("ij,jk", x, y), "complex", (2, 3), (3, 2)),
        (lambda x, y: np.einsum("...ij,...j->...i", x, y), "complex", (4, 2, 3), (3,)),
        (lambda x, y: np.einsum("...i,...i", x, y), "complex", (4, 3), (4, 3)),
        (lambda x: np.einsum("ii->i", x), "complex", (3, 3)),
        (lambda x: np.einsum("ii", x), "complex", (3, 3)),
        (lambda x: np.einsum("iij,k->j", x, np.ones(2)), "complex", (3, 3, 2)),
        (lambda x: np.einsum("ij->i", x), "complex", (3, 2)),
        (lambda x: np.einsum("ij->ji", x), "complex", (3, 2)),
        (lambda x, y, z: np.einsum("i,ij,j->", x, y, z), "complex", (2,), (2, 3), (3,)),
        (lambda x, y: np.einsum("i,j->ij", x, y), "complex", (2,), (3,)),
    ],
    np.linalg.solve: [
        (lambda a, b: np.linalg.solve(regular(a), b), "complex", (3, 3), (3,)),
        (lambda a, b: np.linalg.solve(regular(a), b), "complex", (3, 3), (3, 2)),
        (lambda a, b: np.linalg.solve(regular(a), b), "complex", (2, 3, 3), (2, 3, 1)),
        (lambda a, b: np.linalg.solve(regular(a), b), "complex", (2, 3, 3), (3,)),
    ],
    np.linalg.inv: [(lambda a: np.linalg.inv(regular(a)), "complex", (3, 3)), (lambda a: np.linalg.inv(regular(a)), "complex", (2, 2, 2))],
    np.linalg.det: [
        (lambda a: np.linalg.det(regular(a)), "complex", (3, 3)),
        (lambda a: np.linalg.det(regular(a)), "complex", (2, 2, 2)),
        (lambda a: autodiff.vjp(np.linalg.det, regular(a))[1](np.linalg.det(a))[0], "complex", (3, 3)),  # the adjugate's own rules
    ],
    np.linalg.slogdet: [
        (lambda a: np.linalg.slogdet(regular(a)).logabsdet, "complex", (3, 3)),
        (lambda a: np.linalg.slogdet(regular(a))[0], "complex", (3, 3)),
        (lambda a: np.linalg.slogdet(regular(a))[1], "complex", (2, 3, 3)),
    ],
    np.linalg.cholesky: [(lambda a: np.linalg.cholesky(spd(a)), "complex", (3, 3)), (lambda a: np.linalg.cholesky(spd(a)), "complex", (2, 2, 2))],
    np.linalg.norm: [
        (np.linalg.norm, "complex", (3,)),
        (np.linalg.norm, "complex", (2, 3)),
        *[(lambda x, p=p: np.linalg.norm(x, p), "complex", (4,)) for p in (1, 2, 3, np.inf, -np.inf)],
        *[(lambda x, p=p: np.linalg.norm(x, p), "complex", (3, 4)) for p in ("fro", 1, -1, np.inf, -np.inf)],
        (lambda x: np.linalg.norm(x, axis=1, keepdims=True), "complex", (2, 3)),
        (lambda x: np.linalg.norm(x, axis=(0, 2)), "complex", (2, 3, 2)),
    ],
    np.full_like: [(lambda x: np.full_like(x, 2.0 * x[0]), "complex", (3,))],
    "convolution": [
        (convolution(CONV2D, stride=(1, 1), padding=(1, 1)), "complex", (2, 3, 4, 4), (2, 3, 3, 3)),
        (convolution(CONV2D, stride=(2, 1), padding=(0, 1)), "complex", (2, 2, 4, 3), (3, 2, 2, 1)),
        (convolution(CONV2D, stride=(1, 1), padding=(0, 0)), "complex", (1, 1, 1, 1), (1, 1, 1, 1)),
        (convolution(CONV2D, stride=(1, 1), padding=(1, 0)), "complex", (0, 2, 2, 2), (2, 2, 2, 2)),
        (convolution(CONV2D_INPUT, stride=(2, 1), padding=(1, 0), size=(4, 2)), "complex", (2, 2, 2, 1), (2, 3, 3, 2)),
        (convolution(CONV2D_WEIGHT, stride=(2, 1), padding=(1, 0), kernel=(3, 2)), "complex", (2, 3, 4, 2), (2, 2, 2, 1)),
    ],
    "methods": [
        (lambda x: x.T.reshape(3, 2).sum(axis=0) + x.mean() * x.std() * x.var(), "complex", (2, 3)),
        (lambda x: x.transpose(1, 0).ravel() + x.flatten() * x.max() - x.min(), "complex", (2, 3)),
        (lambda x: (x.real**2 + x.imag**2) * x.conj().swapaxes(0, 1).T, "complex", (2, 3)),
        (lambda x: abs(x) % 0.3 + 2 / (2 + x * x) - (-x), "complex", (4,)),
        (lambda x: 2.0 - x + (1.0 - x) @ x + np.ones(3) @ x, "complex", (3,)),
        (lambda x: x.astype(complex) * 1j, "complex", (3,)),
        (lambda x: x.cumsum().prod() + x.squeeze().clip(-1, 1) + x.take([0, 1, 1]), "complex", (1, 3)),
        (lambda x: x.diagonal() + x.trace() + x.repeat(2, axis=0)[0] + x.mT[0], "complex", (3, 3)),
        (lambda x: np.add.reduce(x) + np.maximum.reduce(x) * np.multiply.reduce(x) + np.add.accumulate(x), "complex", (3, 2)),
        (lambda x: np.array([x[1], -x[0], x[2] * 2.0]) + 0 * x, "real", (3,)),
        (lambda x: x.sum(0, None) + x.mean(1, None, None, True)[0] * x.max(0, None) * x.prod(0, None, None), "complex", (3, 3)),
        (lambda x: np.add.reduce(x, 1) + np.add.reduce(x, axis=0, initial=2.0, where=MASK[:1].T), "complex", (3, 3)),
        (lambda x: np.add(x, 1.0, dtype=None, where=True, casting="same_kind"), "complex", (3,)),
    ],
}  # fmt: skip


def draw(domain, shape, dtype, rng):
    """A sample array; complex ones keep the domain's sense in both parts."""

    def real():
        if "positive" in domain:
            return rng.uniform(0.5, 2.0, shape)
        if "unit" in domain:
            return rng.uniform(-0.9, 0.9, shape)
        if "above" in domain:
            return rng.uniform(1.5, 3.0, shape)
        return rng.standard_normal(shape)

    x = real() + 1j * real() if np.dtype(dtype).kind == "c" else real()
    return np.asarray(x, dtype)[()]


def random_like(params, seed=0):
    """Parameters that hide no factor: random where init gives zeros and ones."""
    rng = np.random.default_rng(seed)
    return autodiff.tree.map(lambda x: rng.standard_normal(x.shape).astype(x.dtype), params)


def net(t, y, p):
    """A right-hand side of two layers."""
    return np.tanh(y**3 @ p["W1"] + p["b1"]) @ p["W2"] + p["b2"]


def parameters(dtype=np.float64, hidden=50):
    """Weights and biases for `net`, the same at every call."""
    rng = np.random.default_rng(1)
    shapes = {"W1": (2, hidden), "b1": (hidden,), "W2": (hidden, 2), "b2": (2,)}
    return {name: (0.4 * rng.standard_normal(shape)).astype(dtype) for name, shape in shapes.items()}


def assert_close(got, want, tolerance):
    """Equal leaf by leaf, relative to each entry or to the largest finite one wanted."""
    for g, w in zip(tree.flatten(got)[0], tree.flatten(want)[0], strict=True):
        w = np.asarray(w)
        assert np.shape(g) == w.shape
        scale = np.max(np.abs(w[np.isfinite(w)]), initial=1e-300)
        np.testing.assert_allclose(g, w, rtol=tolerance, atol=tolerance * scale)


def irregular(n=4, seed=0):
    """Series of 2 to 4 points each at its own times, as lists and as one batch."""
    rng = np.random.default_rng(seed)
    times = [np.sort(rng.uniform(0.0, 2.0, 2 + i % 3)) for i in range(n)]
    values = [rng.standard_normal((len(own), 2)) for own in times]
    return times, values, models.union_grid(times, values)
