"""check_odeint and `node-core check`: every mode in a table, the right advice, and what cannot be checked."""

import re

import numpy as np
import pytest

import node_core as nc
from node_core.cli.main import main
from node_core.doctor import BOUNDED, Checkup, ModeReport, _advice

T = [0.0, 0.5, 1.0]


def decay(t, y, k):
    return -k * y


def modes_of(found):
    return {m.mode: m for m in found.modes}


def test_every_mode_is_compared_with_a_reference_that_differences_confirm(capsys):
    found = nc.check_odeint(decay, np.array([1.5, -0.4]), T, (0.8,), rtol=1e-8, atol=1e-8)
    modes = modes_of(found)
    assert list(modes) == ["discrete", "discrete, 32 checkpoints", "adjoint", "interpolated", "forward"]
    assert modes["forward"].nfev_backward == 0
    for m in list(modes.values())[:-1]:
        assert 1e-13 < m.error < 1e-6
        assert m.seconds > 0
        assert m.nfev > 0
        assert m.nfev_backward > 0
        assert m.remark == ""
        assert m.grown is None or 0 <= m.grown < 2**26
    assert found.differences < 1e-8
    shown = capsys.readouterr().out
    assert shown == f"{found}\n"
    assert [line[:24].strip() for line in shown.splitlines()[1:6]] == list(modes)
    assert found.advice.startswith("use gradient='discrete'")


def test_a_gradient_that_is_wrong_is_seen(capsys):
    """Of a function whose own rule is wrong: the reference itself is, and differences say so."""

    @nc.custom_vjp
    def wrong(y):
        return -y

    wrong.defvjp(lambda y: (-y, None), lambda _, g: (g,))
    found = nc.check_odeint(lambda t, y: wrong(y), np.ones(2), T, backend="callback", show=False)
    assert found.differences > 0.1
    assert "trust none of these" in str(found)
    assert capsys.readouterr().out == ""


def test_where_the_adjoint_fails_the_advice_is_the_discrete_gradient():
    found = nc.check_odeint(lambda t, y, k: -k * (y - np.sin(t)), np.array([0.5]), [0.0, 1.0], (100.0,), show=False)
    assert "reconstructed backward" in modes_of(found)["adjoint"].remark
    assert found.advice == "use gradient='discrete': the adjoint does not find its way back"
    assert "reconstructed backward" in str(found)


@pytest.mark.parametrize(
    ("options", "y0", "missing", "there"),
    [({"method": "implicit_adams"}, np.ones(2), "discrete, 32 checkpoints", "discrete"),
     ({"method": "leapfrog", "step_size": 0.1}, np.ones(2), "adjoint", "discrete")],
)  # fmt: skip
def test_a_mode_that_a_method_does_not_have_says_so(options, y0, missing, there):
    found = nc.check_odeint(lambda t, y: np.stack([y[1], -y[0]]), y0, T, show=False, **options)
    modes = modes_of(found)
    assert modes[missing].error is None
    assert options["method"] in modes[missing].remark
    assert modes[there].error < 0.1
    assert found.advice.startswith(f"use gradient='{there}'")


def test_options_of_one_mode_are_for_it_alone():
    own = {"checkpoints": 1, "adjoint_rtol": 1e-2}
    found = modes_of(nc.check_odeint(decay, np.ones(2), [0.0, 8.0], (0.8,), show=False, rtol=1e-9, **own))
    assert all(m.error is not None for m in found.values())
    assert found["discrete"].nfev_backward > found["discrete, 32 checkpoints"].nfev_backward
    assert found["adjoint"].error > 10 * found["discrete"].error


def test_nested_states_arguments_without_a_number_and_float32():
    y0 = {"q": np.ones((2, 1), np.float32), "p": np.zeros(2, np.float32)}
    found = nc.check_odeint(lambda t, y, k, n: {"q": y["p"][:, None] * k, "p": -n * y["q"][:, 0]}, y0, T,
                            (np.float32(1.3), 2), show=False)  # fmt: skip
    assert all(m.error < 1e-3 for m in found.modes)
    assert found.differences < 1e-2


def test_advice_weighs_memory():
    big = ModeReport("discrete", 1e-6, 0.1, 2**30, 10, 10), ModeReport(BOUNDED, 1e-6, 0.2, 2**20, 10, 20)
    assert _advice(list(big)) == "use gradient='discrete', with checkpoints=32 if 1024 MB are too much"
    assert "no gradient mode works here" in str(Checkup([], 0.0, _advice([])))


def test_another_remark_is_no_loss_of_the_adjoint():
    with pytest.warns(RuntimeWarning, match="func is called back"):
        found = nc.check_odeint(lambda t, y: -y if t < 5 else -2 * y, np.ones(1), [0.0, 1.0], show=False)
    assert "not traced" in modes_of(found)["adjoint"].remark
    assert "does not find its way back" not in found.advice


def test_a_mode_that_is_far_more_exact_is_told():
    rough = (
        ModeReport("discrete", 0.5, 0.1, 0, 10, 10),
        ModeReport("adjoint", 1e-3, 0.1, 0, 10, 10, "reconstructed backward"),
    )
    exact = ModeReport("interpolated", 1e-2, 0.1, 0, 10, 10)
    assert _advice([*rough, exact]) == "use gradient='interpolated', more exact here, or tighter tolerances"
    assert _advice(list(rough)) == "use gradient='discrete': the adjoint does not find its way back"


def test_a_gradient_that_is_next_to_nothing_is_no_measure():
    """y(5) does not depend on y0: the error is over what the other inputs have."""
    found = nc.check_odeint(lambda t, y, s: -s * (y - np.sin(t)), np.ones(1), [0.0, 5.0], (100.0,), show=False)
    assert all(m.error < 1e6 for m in found.modes)


def test_a_gradient_is_not_to_be_chosen():
    with pytest.raises(TypeError, match="it takes no full_output="):
        nc.check_odeint(decay, np.ones(1), T, (1.0,), full_output=True)
    with pytest.raises(TypeError, match="check_odeint runs every gradient mode; it takes no gradient="):
        nc.check_odeint(decay, np.ones(1), T, (1.0,), gradient="adjoint")


@pytest.fixture
def module(tmp_path, monkeypatch):
    (tmp_path / "checked_model.py").write_text(
        "import numpy as np\n"
        "def problem():\n"
        "    return (lambda t, y, k: -k * y), np.ones(2), [0.0, 1.0], (0.7,)\n"
        "def nothing():\n"
        "    return 3\n"
        "number = 3\n"
        "def listed():\n"
        "    return (lambda t, y, k: -k * y), np.ones(2), [0.0, 1.0], [0.7]\n"
    )
    monkeypatch.chdir(tmp_path)
    return "checked_model"


def test_the_command_prints_the_table(module, capsys):
    assert main(["check", f"{module}:problem", "--method", "tsit5", "--rtol", "1e-7"]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("mode ")
    assert "use gradient='discrete'" in shown
    assert main(["check", f"{module}:problem", "--method", "rk4", "--step-size", "0.1"]) == 0
    assert "discrete, 32 checkpoints" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "message"),
    [("checked_model", "the problem must be MODULE:PROBLEM"),
     ("checked_model:absent", "checked_model:absent cannot be had"),
     ("no_such_module:problem", "no_such_module:problem cannot be had"),
     ("checked_model:number", "must be a function without arguments, got int"),
     ("checked_model:listed", r"args must be a tuple, got list; write \(p,\)"),
     ("checked_model:nothing", r"must return \(func, y0, t\) or \(func, y0, t, args\), got 3")],
)  # fmt: skip
def test_the_command_says_what_is_wrong(module, name, message, capsys):
    assert main(["check", name]) == 1
    assert re.search(message, capsys.readouterr().err)
