"""What a compiled function reads from outside its arguments, and what is an argument of it: never an old answer."""

import copy
import functools
import pickle
import sys
import threading
import types
import warnings
from collections import deque
from dataclasses import dataclass

import numpy as np
import pytest

import node_core as nc

X = np.array([1.0, 2.0, 3.0])
T = np.linspace(0.0, 1.0, 3)

pytestmark = pytest.mark.filterwarnings("error")


class Box:
    """An object with attributes."""

    shared = np.ones(3)

    def __init__(self, **attributes):
        self.__dict__.update(attributes)

    def scaled(self, x):
        return x * self.w * FACTORS

    def half(self, x):
        return x * self.shared / 2


class Slotted:
    __slots__ = ("w",)

    def __init__(self, w):
        self.w = w


@dataclass(slots=True)
class Record:
    w: np.ndarray


FACTORS = np.ones(3)


def times(k):
    return lambda x: x * k


def follows(fun, changes, x=X):
    """The compiled function gives what the function gives, before and after every change."""
    compiled = nc.compile(fun)
    for change in (lambda: None, *changes):
        change()
        for _ in range(2):
            np.testing.assert_allclose(compiled(x), fun(x), rtol=1e-12)


# --- arrays ---


def test_a_view_of_an_array_that_is_replaced():
    box = Box(w=np.eye(3))

    def replace():
        box.w = 5 * np.eye(3)

    def change():
        box.w[0, 1] = 7.0

    for view in (lambda w: w.T, lambda w: w[0], lambda w: w.ravel()[:3], lambda w: w.reshape(3, 3)[:, 0]):
        box.w = np.eye(3)
        follows(lambda x, view=view: np.sum(x * view(box.w)), [replace, change])


def test_the_batch_of_a_training_is_the_present_one():
    batch = np.array([1.0, 2.0])
    ode = nc.NeuralODE(lambda p, t, y: -p * y)
    step = nc.compile(nc.value_and_grad(lambda p: np.sum(ode(p, batch, T)[-1])))
    direct = nc.compile(lambda k: nc.odeint(lambda t, y, k: -k * y, batch, T, args=(k,), method="rk4")[-1])
    for _ in range(3):
        batch = batch + 1.5
        assert abs(step(np.ones(2))[0] - np.sum(batch) * np.exp(-1)) < 1e-4
        np.testing.assert_allclose(direct(np.ones(2)), batch * np.exp(-1), rtol=1e-2)


def test_two_names_of_one_array_are_two():
    a = b = np.ones(3)

    def other_b():
        nonlocal b
        b = np.full(3, 10.0)

    def other_a():
        nonlocal a
        a = np.full(3, 4.0)

    follows(lambda x: x * a + b, [other_b, other_a])


@pytest.mark.parametrize("kind", ["class", "slots", "dataclass", "module", "deque", "proxy", "method", "global", "map"])
def test_arrays_are_found_wherever_they_are(kind, tmp_path, monkeypatch):
    w = np.ones(3)
    box = Box(w=w)
    if kind == "class":
        fun, w = box.half, Box.shared
    elif kind == "slots":
        slotted = Slotted(w)
        fun = lambda x: x * slotted.w  # noqa: E731
    elif kind == "dataclass":
        record = Record(w)
        fun = lambda x: x * record.w  # noqa: E731
    elif kind == "module":
        module = types.ModuleType("settings_of_the_user")
        module.__file__, module.w = str(tmp_path / "settings_of_the_user.py"), w
        monkeypatch.setitem(sys.modules, "settings_of_the_user", module)
        monkeypatch.setitem(globals(), "settings", module)
        fun = lambda x: x * settings.w  # noqa: E731, F821
    elif kind == "deque":
        fun = lambda x, d=deque([w]): x * d[0]  # noqa: E731
    elif kind == "proxy":
        fun = lambda x, d=types.MappingProxyType({"w": w}): x * d["w"]  # noqa: E731
    elif kind == "method":
        fun = lambda x: box.scaled(x)  # noqa: E731
    elif kind == "global":
        fun, w = lambda x: box.scaled(x), FACTORS
    else:
        w = np.memmap(tmp_path / "w", np.float64, "w+", shape=(3,))
        fun = lambda x: x * w  # noqa: E731

    def change():
        w[:] = w + 1.0

    follows(fun, [change, change])


def test_an_object_array_in_reach_is_no_hindrance():
    words = np.array(["a", "b"], object)
    follows(lambda x: x * np.linspace(0, 1, 3) if words[0] == "a" else x, [])


def test_what_is_taken_out_of_an_array_is_followed():
    a = np.array([1.0, 0.0])

    def change():
        a[:] = a[::-1] + 1.0

    for fun in (
        lambda x: x * float(a[0]),
        lambda x: x if a[0] > 0.5 and a[1] < 0.5 else -x,
        lambda x: x[int(a[1])],
        lambda x: x * a.tolist()[0],
    ):
        a[:] = [1.0, 0.0]
        follows(fun, [change])


def test_what_is_too_much_to_look_at_is_refused_and_not_taken_for_constant():
    series = [[np.full(3, float(k))] for k in range(20_000)]
    compiled = nc.compile(lambda x: x * series[19_000][0])
    with pytest.warns(RuntimeWarning, match="too many objects"):
        compiled(X)
    series[19_000][0][:] = 1.0
    np.testing.assert_array_equal(compiled(X), X)


# --- numbers and structure ---


def test_numbers_that_a_function_reads():
    k, box, rows, data = 2.0, Box(w=1.0, flag=True), [0], np.arange(9.0).reshape(3, 3)

    def number():
        nonlocal k
        k = 3.0

    def attribute():
        box.w = 5.0

    def flag():
        box.flag = False

    def row():
        rows[0] = 2

    follows(lambda x: k * x * box.w + (data[rows[0]] if box.flag else 0.0), [number, attribute, flag, row])


def test_the_number_of_a_neural_odes_field():
    box = Box(gain=1.0)
    ode = nc.NeuralODE(lambda p, t, y: -p * y * box.gain)
    for box.gain in (1.0, 2.0):
        assert abs(ode(1.0, X, T)[-1, 0] - np.exp(-box.gain)) < 1e-4


def test_structure_that_grows_and_shrinks():
    parts, box, table = [np.ones(3)], Box(b=None), {"a": np.ones(3), "b": np.ones(3)}

    def grow():
        parts.append(np.full(3, 2.0))

    def appear():
        box.b = np.full(3, 4.0)

    def shrink():
        parts.pop()

    def lose():
        del table["b"]

    follows(
        lambda x: sum(x * p for p in parts) + (0.0 if box.b is None else box.b) + sum(table.values()),
        [grow, appear, shrink, lose],
    )


def test_a_counter_is_no_reason_to_record_again():
    class Counted:
        nfe = 0

        def __call__(self, t, y):
            self.nfe += 1
            return -y

    field = Counted()
    compiled = nc.compile(field)
    for _ in range(5):
        nc.odeint(compiled, X, T)
    seen = field.nfe
    field.nfe = 0
    nc.odeint(compiled, X, T)
    assert seen < 10
    assert field.nfe == 0


# --- what comes in ---


def test_functions_and_objects_as_arguments():
    apply = nc.compile(lambda h, x: h(x))
    for k in range(1, 6):
        np.testing.assert_array_equal(apply(functools.partial(np.multiply, float(k)), X), X * k)
        np.testing.assert_array_equal(apply(times(k), X), X * k)
    box = Box(w=2.0)
    scaled = nc.compile(lambda b, x: b.w * x)
    np.testing.assert_array_equal(scaled(box, X), 2 * X)
    box.w = 9.0
    np.testing.assert_array_equal(scaled(box, X), 9 * X)
    field = nc.compile(lambda t, y, b: -b.w * y)
    for box.w in (1.0, 2.0):
        assert abs(nc.odeint(field, X, T, args=(box,))[-1, 0] - np.exp(-box.w)) < 1e-4


def test_signs_of_zero_and_nan_are_told_apart_and_found_again():
    compiled = nc.compile(lambda x, s: x * np.copysign(1.0, s))
    np.testing.assert_array_equal(compiled(X, 0.0), X)
    np.testing.assert_array_equal(compiled(X, -0.0), -X)
    for _ in range(3):
        compiled(X, float("nan"))
    assert len(compiled._plain) == 3


def test_keywords():
    def fun(x, *, k, w=None):
        return np.sum(x**2 * k) if w is None else np.sum(x * w) * k

    compiled = nc.compile(nc.grad(fun))
    for kwargs in ({"k": 3.0}, {"k": 2.0, "w": 2 * X}, {"w": X, "k": 2.0}, {"k": X}):
        np.testing.assert_array_equal(compiled(X, **kwargs), nc.grad(fun)(X, **kwargs))


def test_as_a_method_copied_and_pickled():
    class Model:
        def __init__(self, w):
            self.w = w

        @nc.compile
        def predict(self, x):
            return x * self.w

    a, b = Model(2.0), Model(3.0)
    np.testing.assert_array_equal(a.predict(X) + b.predict(X), 5 * X)
    compiled = nc.compile(np.tanh)
    compiled(X)
    for other in (copy.deepcopy(compiled), copy.copy(compiled), pickle.loads(pickle.dumps(compiled))):
        np.testing.assert_allclose(other(X), np.tanh(X), rtol=1e-15)


def test_compiled_functions_within_compiled_functions():
    loss = nc.compile(lambda x: np.sum(x**2))
    loss(X)
    np.testing.assert_array_equal(nc.compile(nc.grad(loss))(X), 2 * X)
    np.testing.assert_array_equal(nc.compile(nc.jacobian(loss))(X), 2 * X)
    wrapped = functools.wraps(loss)(lambda x: loss(x) + 1)
    assert nc.compile(wrapped)(X) == 15.0

    class Twice:
        def __init__(self, fun):
            self.fun, self.calls = fun, 0

        def __call__(self, x):
            return 2 * self.fun(x)

    np.testing.assert_allclose(nc.compile(Twice(np.sin))(X), 2 * np.sin(X), rtol=1e-14)


def test_an_argument_that_is_changed_in_place():
    def fun(x):
        x *= 2.0
        return np.sum(x)

    compiled, x = nc.compile(fun), X.copy()
    with pytest.warns(RuntimeWarning, match="changes its argument in place"):
        assert compiled(x) == 12.0
    np.testing.assert_array_equal(x, 2 * X)


def test_subclasses_of_arrays_are_refused_by_name():
    masked = np.ma.array(X, mask=[0, 1, 0])
    with pytest.warns(RuntimeWarning, match="MaskedArray has no compiled form"):
        assert nc.compile(lambda x: x.sum())(masked) == 4.0


def test_complex_arguments_are_refused_by_name():
    with pytest.warns(RuntimeWarning, match="complex numbers have no compiled form"):
        np.testing.assert_array_equal(nc.compile(lambda x: x * 2)(X + 1j), 2 * X + 2j)


# --- what comes out ---


def test_results_that_are_no_arrays_are_themselves():
    def fun(x, k):
        return {"y": x * 2, "k": k + 1, "n": x.shape[0], "big": 2**60 + 1, "none": None, "name": "a", "flag": True}

    got, wanted = nc.compile(fun)(X, 1), fun(X, 1)
    np.testing.assert_array_equal(got.pop("y"), wanted.pop("y"))
    assert got == wanted
    assert {key: type(x) for key, x in got.items()} == {key: type(x) for key, x in wanted.items()}
    assert nc.compile(lambda x: None)(X) is None


def test_an_argument_or_a_constant_given_back_is_a_copy():
    w = np.ones(3)
    y, z, c = nc.compile(lambda x: (x, w, np.arange(3.0)))(X)
    assert not np.shares_memory(y, X)
    assert not np.shares_memory(z, w)
    np.testing.assert_array_equal(c, [0.0, 1.0, 2.0])


def test_gradients_of_trees_with_leaves_that_have_none():
    step = nc.compile(nc.value_and_grad(lambda p: (np.sum(p["a"] ** 2), "aux"), has_aux=True))
    (value, aux), grads = step({"a": X, "b": None, "c": 3})
    assert (value, aux, grads["b"], grads["c"]) == (14.0, "aux", None, None)
    np.testing.assert_array_equal(grads["a"], 2 * X)


# --- warnings and threads ---


def test_the_second_point_of_the_check_warns_of_nothing():
    assert nc.compile(lambda x: np.sqrt(1 - x))(np.ones(1))[0] == 0.0


def test_a_pure_function_whose_terms_cancel_is_not_called_impure():
    hessian = nc.hessian(lambda x: np.std(x))
    x = np.array([0.3, 0.4])
    np.testing.assert_allclose(nc.compile(hessian)(x), hessian(x), atol=1e-13)


def test_one_warning_for_a_function_and_a_reason():
    compiled = nc.compile(lambda x: np.sort(x))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for n in (2, 3, 4):
            compiled(np.ones(n))
    assert len(caught) == 1
    assert caught[0].filename == __file__


def test_debugging_names_the_instruction_of_a_compiled_function(monkeypatch):
    monkeypatch.setenv("NODE_CORE_DEBUG", "1")
    with pytest.raises(FloatingPointError, match=r"test_captured\.py:\d+: %0 = log"):
        nc.compile(lambda x: np.log(x) * 2)(-X)


def test_one_pullback_in_many_threads():
    W = np.random.default_rng(0).standard_normal((20, 20)) / 5
    y0, t = np.ones(20), np.linspace(0, 2, 6)
    for gradient in ("adjoint", "discrete"):
        _, pullback = nc.vjp(
            lambda p, g=gradient: nc.odeint(lambda s, y, p: np.tanh(p @ y), y0, t, args=(p,), gradient=g), W
        )
        g = np.ones((6, 20))
        wanted, wrong = pullback(g)[0], []

        def work(pullback=pullback, g=g, wanted=wanted, wrong=wrong):
            for _ in range(40):
                if not np.array_equal(pullback(g)[0], wanted):
                    wrong.append(1)

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not wrong
