"""Every primitive and every NumPy function of the table: values, both modes, both orders, both precisions."""

import numpy as np
import pytest

from node_core import autodiff
from node_core.autodiff.functions import WITHOUT_DERIVATIVE
from node_core.autodiff.node import FUNCTIONS
from node_core.autodiff.primitive import ALL
from node_core.autodiff.reverse import ReverseTrace
from node_core.program import TraceError, trace
from tests.cases import CASES, draw, masked

SAMPLES = [
    pytest.param(call, domain, shapes, id=f"{getattr(function, '__name__', function)}-{i}")
    for function, cases in CASES.items()
    for i, (call, domain, *shapes) in enumerate(cases)
]


def arguments(domain, shapes, dtype, seed=0):
    rng = np.random.default_rng(seed)
    return tuple(draw(domain, shape, dtype, rng) for shape in shapes)


def test_every_numpy_function_of_the_table_has_a_sample():
    named = {function for function in CASES if not isinstance(function, str)}
    assert named == set(FUNCTIONS) - WITHOUT_DERIVATIVE


def test_every_differentiable_primitive_is_reached_by_the_samples(monkeypatch):
    reached = set()
    process = ReverseTrace.process

    def recording(self, primitive, operands, params):
        reached.add(primitive.name)
        return process(self, primitive, operands, params)

    monkeypatch.setattr(ReverseTrace, "process", recording)
    for sample in SAMPLES:
        call, domain, shapes = sample.values
        autodiff.vjp(call, *arguments(domain, shapes, float))
    differentiable = {name for name, p in ALL.items() if p.differentiable}
    assert differentiable == reached & differentiable


@pytest.mark.parametrize(("call", "domain", "shapes"), SAMPLES)
def test_traced_value_equals_plain_numpy(call, domain, shapes):
    for dtype in (float, complex) if "complex" in domain else (float,):
        args = arguments(domain, shapes, dtype)
        plain = np.asarray(call(*args))
        traced = autodiff.vjp(call, *args)[0]
        assert np.shape(traced) == plain.shape
        np.testing.assert_allclose(traced, plain, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize(("call", "domain", "shapes"), SAMPLES)
@pytest.mark.parametrize("order", [1, 2])
def test_both_modes_equal_central_differences(call, domain, shapes, order):
    autodiff.check_grads(call, arguments(domain, shapes, float), order=order)


@pytest.mark.parametrize(("call", "domain", "shapes"), [s for s in SAMPLES if "complex" in s.values[1]])
@pytest.mark.parametrize("order", [1, 2])
def test_both_modes_equal_central_differences_for_complex_arguments(call, domain, shapes, order):
    autodiff.check_grads(call, arguments(domain, shapes, complex), order=order)


@pytest.mark.parametrize(("call", "domain", "shapes"), SAMPLES)
def test_a_graph_run_on_other_values_equals_plain_numpy(call, domain, shapes):
    example, others = (arguments(domain, shapes, float, seed) for seed in (0, 1))
    if call is masked:
        with pytest.raises(TraceError, match="a mask"):
            trace(call, *example)
        return
    graph = trace(call, *example)
    np.testing.assert_allclose(graph(*others), call(*others), rtol=1e-12, atol=1e-13)


def check_single_precision(call, domain, shapes, dtype):
    """Both modes in single precision: near double's, and of single precision themselves."""
    single = arguments(domain, shapes, dtype)
    double = tuple(np.asarray(x, np.result_type(dtype, np.float64))[()] for x in single)
    out, pullback = autodiff.vjp(call, *double)
    u = np.random.default_rng(1).standard_normal(np.shape(out))
    if np.iscomplexobj(out):
        u = u + 0.5j * u
    wanted = pullback(np.asarray(u, np.asarray(out).dtype)[()])
    out32, pullback32 = autodiff.vjp(call, *single)
    got = pullback32(np.asarray(u, np.asarray(out32).dtype)[()])
    for g, w in zip(got, wanted, strict=True):
        assert g.dtype == dtype
        scale = 1.0 + np.max(np.abs(w), initial=0)
        np.testing.assert_allclose(g, w, rtol=0, atol=3e-4 * scale)
    tangents = tuple(np.ones_like(x) for x in single)
    _, t = autodiff.jvp(call, single, tangents)
    assert np.asarray(t).dtype == np.asarray(out32).dtype
    wanted = autodiff.jvp(call, double, tuple(np.ones_like(x) for x in double))[1]
    np.testing.assert_allclose(t, wanted, rtol=0, atol=3e-4 * (1.0 + np.max(np.abs(wanted), initial=0)))


@pytest.mark.parametrize(("call", "domain", "shapes"), SAMPLES)
def test_float32_derivative_equals_float64_and_stays_float32(call, domain, shapes):
    check_single_precision(call, domain, shapes, np.float32)


@pytest.mark.parametrize(("call", "domain", "shapes"), [s for s in SAMPLES if "complex" in s.values[1]])
def test_complex64_derivative_equals_complex128_and_stays_complex64(call, domain, shapes):
    check_single_precision(call, domain, shapes, np.complex64)
