"""nc.trace: what the graph holds, how it prints and draws, that it runs and differentiates, what it refuses."""

import inspect
import re
import xml.etree.ElementTree as ET

import numpy as np
import pytest

import node_core as nc

Y = np.array([1.0, 2.0, 3.0])


def names(graph, numbers):
    return [graph.values[i].name for i in numbers]


# --- what is in it ---


def test_graph_prints_one_line_an_instruction():
    def decay(t, y):
        return -2.0 * y + t * np.sin(y[1:])[0]

    assert str(nc.trace(decay, 0.5, Y)) == (
        "graph decay(t: float64[], y: float64[3])\n"
        "  %0 = multiply(-2.0, y)    float64[3]\n"
        "  %1 = getitem(y, index=(slice(1, None, None),))    float64[2]\n"
        "  %2 = sin(%1)    float64[2]\n"
        "  %3 = getitem(%2, index=(0,))    float64[]\n"
        "  %4 = multiply(t, %3)    float64[]\n"
        "  %5 = add(%0, %4)    float64[3]\n"
        "  return %5"
    )


def test_inputs_are_named_as_a_user_would_index_them():
    def f(t, p, *more):
        return p["W"][0] @ p["b"] * t + more[0]

    graph = nc.trace(f, 0.0, {"W": [np.eye(3)], "b": Y}, 2.0)
    assert names(graph, graph.inputs) == ["t", "p['W'][0]", "p['b']", "arg2"]


def test_inputs_of_a_method_leave_out_self():
    class System:
        def rate(self, t, y):
            return t * y

    graph = nc.trace(System().rate, 0.0, Y)
    assert names(graph, graph.inputs) == ["t", "y"]


def test_inputs_of_a_ufunc_are_numbered():
    assert str(nc.trace(np.sin, Y)).splitlines()[:2] == [
        "graph sin(arg0: float64[3])",
        "  %0 = sin(arg0)    float64[3]",
    ]


def test_arrays_and_numbers_from_outside_are_constants():
    W = np.eye(3)
    graph = nc.trace(lambda y: 2.0 * (W @ y), Y)
    (matrix, two) = graph.constants.values()
    np.testing.assert_array_equal(matrix, W)
    W[:] = 0.0  # the graph keeps what it was traced with
    np.testing.assert_array_equal(graph(Y), 2.0 * Y)
    assert two == 2.0
    assert "matmul(float64[3,3], y)" in str(graph)
    assert "multiply(2.0, %0)" in str(graph)


def test_traced_values_from_outside_are_captured_and_get_their_gradient():
    graphs = []

    def loss(k):
        graph = nc.trace(lambda y: k * y, Y)
        graphs.append(graph)
        return np.sum(graph(2 * Y))

    assert nc.grad(loss)(3.0) == np.sum(2 * Y)
    assert names(graphs[0], graphs[0].captured) == ["captured0"]
    assert "captured0: float64[]    closed over" in str(graphs[0])
    np.testing.assert_array_equal(graphs[0].run([Y], [5.0])[0], 5 * Y)


def test_dead_code_is_removed():
    graph = nc.trace(lambda y: (np.exp(y), y * 2)[1], Y)
    assert [step.primitive.name for step in graph.instructions] == ["multiply"]


def test_instructions_know_the_users_line():
    def f(y):
        return np.tanh(y)  # here

    (step,) = nc.trace(f, Y).instructions
    source, start = inspect.getsourcelines(f)
    here = start + next(i for i, line in enumerate(source) if "here" in line)
    assert step.line == f"{__file__}:{here}"


def test_comparisons_and_argmax_are_recorded():
    graph = nc.trace(lambda y: np.where(y > 0, y, 0.1 * y) + y[np.argmax(y)], Y)
    assert [step.primitive.name for step in graph.instructions] == [
        "greater", "multiply", "where", "argmax", "getitem", "add",
    ]  # fmt: skip
    np.testing.assert_array_equal(graph(-Y), -0.1 * Y - 1.0)


def test_function_that_returns_a_constant_or_its_argument_has_no_instructions():
    assert str(nc.trace(lambda y: (y, 3.0), Y)) == "graph <lambda>(y: float64[3])\n  return y, 3.0"


# --- run and differentiate ---


def test_graph_run_on_other_values_equals_the_function():
    def f(p, scale):
        h = np.tanh(p["x"] @ p["W"])
        return {"out": scale * h, "parts": (h.sum(axis=0), np.max(h))}

    def arguments(seed):
        rng = np.random.default_rng(seed)
        return {"x": rng.standard_normal((4, 3)), "W": rng.standard_normal((3, 2))}, rng.uniform()

    graph = nc.trace(f, *arguments(0))
    got, wanted = graph(*arguments(1)), f(*arguments(1))
    np.testing.assert_array_equal(got["out"], wanted["out"])
    np.testing.assert_array_equal(got["parts"][0], wanted["parts"][0])
    assert got["parts"][1] == wanted["parts"][1]


def test_graph_on_another_nesting_is_an_error():
    with pytest.raises(ValueError, match=r"the trees differ in structure: \(\{'x': \*\},\) and \(\[\*\],\)"):
        nc.trace(lambda p: p["x"], {"x": Y})([Y])


def test_graph_is_differentiable_in_both_modes_and_twice():
    def f(y):
        return np.sum(np.sin(y) * y[::-1])

    graph = nc.trace(f, Y)
    np.testing.assert_allclose(nc.grad(graph)(2 * Y), nc.grad(f)(2 * Y), rtol=1e-15)
    np.testing.assert_allclose(nc.jvp(graph, (2 * Y,), (Y,))[1], nc.jvp(f, (2 * Y,), (Y,))[1], rtol=1e-15)
    np.testing.assert_allclose(nc.hessian(graph)(2 * Y), nc.hessian(f)(2 * Y), rtol=1e-13)


def test_gradient_can_be_traced():
    graph = nc.trace(nc.grad(lambda y: np.sum(y**3)), Y)
    np.testing.assert_array_equal(graph(2 * Y), 12 * Y**2)


def test_leaves_that_are_no_numbers_pass_through():
    graph = nc.trace(lambda y, mode, extra: {"y": y * 2 if mode == "double" else y, "extra": extra}, Y, "double", None)
    np.testing.assert_array_equal(graph(Y, "double", None)["y"], 2 * Y)
    assert graph(Y, "double", None)["extra"] is None


def test_float32_stays_float32_beside_a_python_float():
    graph = nc.trace(lambda t, y: t * y + 1.0, 0.5, Y.astype(np.float32))
    assert graph.values[graph.outputs[0]].dtype == np.float32
    assert graph(2.0, Y.astype(np.float32)).dtype == np.float32


def test_odeint_inside_trace_runs_and_differentiates():
    def final(y0, k):
        return nc.odeint(lambda t, y, k: -k * y, y0, [0.0, 1.0], args=(k,), rtol=1e-10, atol=1e-12)[-1]

    def closing_over(y0, k):
        return nc.odeint(lambda t, y: -k * y, y0, [0.0, 1.0], rtol=1e-10, atol=1e-12)[-1]

    for f in (final, closing_over):
        graph = nc.trace(f, Y, 2.0)
        assert "odeint" in [step.primitive.name for step in graph.instructions]
        np.testing.assert_allclose(graph(2 * Y, 0.5), 2 * Y * np.exp(-0.5), rtol=1e-9)
        gradient = nc.grad(lambda k, graph=graph: np.sum(graph(2 * Y, k)))(0.5)
        assert gradient == pytest.approx(-np.sum(2 * Y) * np.exp(-0.5), rel=1e-8)


# --- pictures ---


def test_dot_has_boxes_for_inputs_ellipses_for_instructions_and_an_edge_an_operand():
    dot = nc.trace(lambda x, y: np.sin(x) * y, Y, Y).to_dot()
    assert dot.startswith('digraph "<lambda>" {')
    assert dot.endswith("}\n")
    assert dot.count("shape=box") == 2
    assert dot.count("shape=ellipse") == 2
    assert sorted(re.findall(r"n\d+ -> n\d+", dot)) == ["n0 -> n2", "n1 -> n3", "n2 -> n3"]
    assert dot.count("penwidth=2") == 1


def test_dot_quotes_names():
    dot = nc.trace(lambda p: p["it's"] * 2, {"it's": 1.0}).to_dot()
    assert r'label="p[\"it\'s\"]\nfloat64[]"'.replace(r"\'", "'") in dot


@pytest.mark.parametrize(
    ("fun", "args"),
    [
        (lambda p: p["a<b&c"] * np.sin(p['"q"']), ({"a<b&c": 1.0, '"q"': 2.0},)),
        (lambda y: 3.0, (Y,)),
        (lambda y, none: y, (Y, None)),
        (lambda: np.ones(2), ()),
    ],
    ids=["names to escape", "constant", "identity", "no arguments"],
)
def test_svg_is_well_formed_and_has_a_box_for_every_value(fun, args):
    graph = nc.trace(fun, *args)
    root = ET.fromstring(graph._repr_svg_())
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    boxes = root.findall("{http://www.w3.org/2000/svg}rect")
    assert len(boxes) == len(graph.inputs) + len(graph.instructions)
    for box in boxes:
        assert float(box.get("x")) + float(box.get("width")) <= float(root.get("width"))
        assert float(box.get("y")) + float(box.get("height")) <= float(root.get("height"))


# --- what it refuses ---


def branch(y):
    if y[0] > 0:  # here
        return y
    return -y


def loop(y):
    while np.sum(y) < 10:  # here
        y = 2 * y
    return y


def assertion(y):
    assert np.all(y > 0)  # here
    return y


def mask(y):
    return y[y > 0]  # here


def maximum(y):
    return max(y)  # here


def conjunction(y):
    return y[0] and y[1]  # here


def membership(y):
    return y if 2.0 in y else -y  # here


def nonzero(y):
    return np.nonzero(y)  # here


def method(y):
    return y.nonzero()  # here


def one_argument_where(y):
    return np.where(y > 0)  # here


@pytest.mark.parametrize("f", [branch, loop, assertion, mask, maximum, conjunction, membership])
def test_branch_on_a_value_is_a_trace_error_with_the_users_line(f):
    with pytest.raises(
        nc.TraceError, match=r"a branch \(if, while, and, or, assert\) or a mask depends .* np.where"
    ) as e:
        nc.trace(f, Y)
    assert str(e.value).startswith(f"{__file__}:{line_of(f)}: ")


@pytest.mark.parametrize("f", [nonzero, method, one_argument_where])
def test_shape_that_depends_on_values_is_a_trace_error_with_the_users_line(f):
    with pytest.raises(nc.TraceError, match=r"which elements are nonzero depends on the value .* np.where") as e:
        nc.trace(f, Y)
    assert str(e.value).startswith(f"{__file__}:{line_of(f)}: ")


def line_of(f):
    source, start = inspect.getsourcelines(f)
    return start + next(i for i, line in enumerate(source) if "# here" in line)


def test_branch_on_shapes_is_traced():
    assert nc.trace(lambda y: y * 2 if y.shape[0] > 2 and len(y) == 3 and y.ndim == 1 else y, Y)(Y)[0] == 2.0


def test_trace_error_is_a_type_error():
    assert issubclass(nc.TraceError, TypeError)
