"""The command line, run in this process: what it prints and writes, its exit codes, and what it never loses."""

import csv
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import node_core as nc
from node_core.bench import contest, peers, suite
from node_core.cli import fit as fit_command
from node_core.cli.main import main
from node_core.fit import Model, Settings
from node_core.series import Series
from node_core.solvers import METHODS
from node_core.solvers.tableaus import ADAMS_METHODS, SPLIT_METHODS

HUDSON_BAY = Path(__file__).parents[1] / "examples" / "data" / "hudson_bay.csv"


def small(seed, hidden):
    return Settings(seed=seed, hidden=(6,) if hidden == (32,) else hidden, horizons=(2,), iterations=(30, 10, 10))


@pytest.fixture
def quick(monkeypatch):
    """Fits of a fraction of a second."""
    monkeypatch.setattr(fit_command, "Settings", small)


def write_oscillator(path):
    t = np.linspace(0.0, 6.0, 13)
    rows = [f"{a:g},{3 + np.cos(1.5 * a):.6f},{1 - np.sin(1.5 * a):.6f}" for a in t]
    path.write_text("time,x,v\n" + "\n".join(rows) + "\n")
    return path


@pytest.fixture
def data(tmp_path):
    return write_oscillator(tmp_path / "data.csv")


@pytest.fixture(scope="module")
def fitted_once(tmp_path_factory):
    folder = tmp_path_factory.mktemp("fitted")
    data = write_oscillator(folder / "data.csv")
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(fit_command, "Settings", small)
        assert main(["fit", str(data), "--time", "time", "--out", str(folder / "out"), "--quiet"]) == 0
    return folder / "out"


@pytest.fixture
def fitted(fitted_once, quick, tmp_path):
    """The folder of a good fit, one of its own for every test."""
    return shutil.copytree(fitted_once, tmp_path / "out")


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def failed(capsys, *argv):
    """The message of a command that must end with exit code 1, without a traceback."""
    assert main([str(a) for a in argv]) == 1
    err = capsys.readouterr().err
    assert "Traceback" not in err
    return err


# --- fit ---


def test_fit_says_what_it_understood_and_what_to_type_next_and_that_works(quick, data, tmp_path, capsys):
    out = tmp_path / "deep" / "out"
    assert main(["fit", str(data), "--time", "time", "--out", str(out), "--quiet"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"{data}: 13 rows, 2 state columns (x, v), time from 0 to 6"
    assert lines[1] == "fitting 11 rows, holding out the last 2"
    assert lines[-2] == f"wrote model.npz, report.json, fit.png to {out}/"
    assert lines[-1].startswith(f"next: node-core predict {out / 'model.npz'} --until ")
    assert sorted(contents(out)) == ["fit.png", "model.npz", "report.json"]
    assert (out / "fit.png").read_bytes().startswith(b"\x89PNG")
    assert main(lines[-1].split()[2:]) == 0


def test_the_report_holds_settings_seed_and_errors_beside_both_simple_forecasts(fitted, data):
    report = json.loads((fitted / "report.json").read_text())
    assert report["seed"] == report["settings"]["seed"] == 0
    assert report["settings"]["hidden"] == [6]
    assert report["rows"] == {"fitted": 11, "held_out": 2}
    for forecast in ("rmse", "persistence", "mean"):
        assert {part: list(columns) for part, columns in report[forecast].items()} == {
            "fitted": ["x", "v"], "held_out": ["x", "v"],
        }  # fmt: skip
    assert set(report["nfe"]) == {"solution", "training", "training_backward"}
    assert all(count > 0 for count in report["nfe"].values())
    assert report["seconds"] > 0
    y = np.loadtxt(data, delimiter=",", skiprows=1)[:, 1:]
    held_out = np.sqrt(np.mean((y[11:] - y[10]) ** 2, axis=0))
    np.testing.assert_allclose(list(report["persistence"]["held_out"].values()), held_out, rtol=1e-12)
    mean = np.sqrt(np.mean((y[11:] - y[:11].mean(axis=0)) ** 2, axis=0))
    np.testing.assert_allclose(list(report["mean"]["held_out"].values()), mean, rtol=1e-12)
    assert report["rmse"]["fitted"]["x"] < 0.1 * report["mean"]["fitted"]["x"]


def test_a_fit_without_holdout_reports_no_held_out_errors(quick, data, tmp_path):
    assert main(["fit", str(data), "--time", "time", "--holdout", "0", "--out", str(tmp_path), "--quiet"]) == 0
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["rows"] == {"fitted": 13, "held_out": 0}
    assert report["rmse"]["held_out"] == report["mean"]["held_out"] == {}


def test_the_same_command_twice_writes_the_same_bytes_and_columns_and_hidden_are_obeyed(quick, data, tmp_path):
    arguments = ["fit", str(data), "--time", "time", "--columns", "v,x", "--hidden", "5,4", "--quiet", "--seed", "3"]
    for name in ("a", "b"):
        assert main([*arguments, "--out", str(tmp_path / name)]) == 0
    assert (tmp_path / "a" / "model.npz").read_bytes() == (tmp_path / "b" / "model.npz").read_bytes()
    model = nc.load(tmp_path / "a" / "model.npz")
    assert (model["columns"], model["hidden"]) == (["v", "x"], [5, 4])
    assert [p["W"].shape for p in model["params"]] == [(2, 5), (5, 4), (4, 2)]


LARGE = [20240101 + k for k in range(9)]  # dates: more digits than :g keeps


def test_large_times_are_printed_suggested_and_written_in_full(quick, tmp_path, capsys):
    data, out = tmp_path / "dates.csv", tmp_path / "out"
    data.write_text("date,x\n" + "".join(f"{t},{np.sin(k):.3f}\n" for k, t in enumerate(LARGE)))
    assert main(["fit", str(data), "--time", "date", "--out", str(out), "--quiet"]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[0].endswith("date from 20240101 to 20240109")
    assert said[-1].endswith("--until 20240111")
    assert main([*said[-1].split()[2:], "--step", "0.1"]) == 0
    assert "wrote 101 rows, date from 20240101 to 20240111" in capsys.readouterr().out
    times = [row.split(",")[0] for row in (out / "predict.csv").read_text().splitlines()[1:]]
    assert times[:2] == ["20240101", "20240101.1"]
    assert times[-2:] == ["20240110.9", "20240111"]
    assert "first date, 20240101, got 20240100" in failed(capsys, "predict", out / "model.npz", "--until", 20240100)
    assert "too small to tell two times" in failed(
        capsys, "predict", out / "model.npz", "--until", 20240101.001, "--step", 1e-9
    )


@pytest.mark.parametrize(
    ("first", "step"), [(0, 1e-7), (20240101, 1), (1.7e9, 0.25), (-5, 0.1), (1e15, 0.125), (1e-300, 1e-300), (1, 1e250)]
)
def test_the_suggested_time_lies_after_the_last_one(first, step):
    t = first + step * np.arange(5.0)
    suggested = float(fit_command._round_up(Series("t", ("x",), t, t[:, None])))
    assert t[-1] < suggested <= t[-1] + 2 * (t[-1] - t[0])


def test_progress_shows_loss_and_step_on_stderr_and_quiet_shows_nothing(quick, data, tmp_path, capsys):
    arguments = ["fit", str(data), "--time", "time", "--out", str(tmp_path)]
    assert main(arguments) == 0
    shown = capsys.readouterr().err
    assert "loss" in shown
    assert "50/50" in shown
    assert main([*arguments, "--quiet"]) == 0
    assert capsys.readouterr().err == ""


def test_hudson_bay_is_fitted_to_under_five_thousand_pelts(tmp_path):
    arguments = ["fit", str(HUDSON_BAY), "--time", "year", "--holdout", "0", "--seed", "0", "--quiet"]
    assert main([*arguments, "--out", str(tmp_path)]) == 0
    rmse = json.loads((tmp_path / "report.json").read_text())["rmse"]["fitted"]
    assert set(rmse) == {"hare", "lynx"}
    assert max(rmse.values()) < 5.0


# --- a failed fit loses nothing ---


@pytest.mark.parametrize("stage", ["fit_series", "make_report", "_plot"])
def test_a_solve_that_fails_is_told_in_the_datas_time_and_columns_with_what_to_try(
    stage, fitted, data, capsys, monkeypatch
):
    before, own = contents(fitted), Model.field
    genuine = getattr(fit_command, stage)

    def field(model, params, tau, z):  # v fails after time 3, once the stage is reached and a solve asks for it
        if np.ndim(z) != 1:
            return own(model, params, tau, z)
        v = np.where(model.t0 + model.t_std * tau > 3.0, np.nan, 1.0)
        return own(model, params, tau, z) * np.stack([1.0, v])

    def patched(*arguments):
        monkeypatch.setattr(Model, "field", field)
        return genuine(*arguments)

    monkeypatch.setattr(fit_command, stage, patched)
    data.write_text(data.read_text().replace("time", "year"))
    message = failed(capsys, "fit", data, "--time", "year", "--out", fitted, "--quiet")
    assert re.search(r"the learned field has a non-finite value in column 'v' at year = 3\.\d+", message)
    assert re.search(r"Stopped at year = (2\.[5-9]|3)\d* with h = ", message)
    assert message.rstrip().endswith("rejected). Nothing was written. Try another --seed, or other --hidden units.")
    assert "component" not in message
    assert contents(fitted) == before


def test_a_picture_of_an_earlier_fit_does_not_stay_beside_a_new_model(fitted, data, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "node_core.cli.plot", None)  # as without matplotlib
    assert main(["fit", str(data), "--time", "time", "--out", str(fitted), "--quiet"]) == 0
    said = capsys.readouterr().out
    assert "fit.png is not drawn: matplotlib is not installed" in said
    assert "removed fit.png of an earlier fit" in said
    assert sorted(contents(fitted)) == ["model.npz", "report.json"]
    assert main(["fit", str(data), "--time", "time", "--out", str(fitted), "--quiet"]) == 0
    assert "removed" not in capsys.readouterr().out


def test_bad_data_leaves_a_good_model_as_it_was(fitted, data, capsys):
    before = contents(fitted)
    data.write_text("time,x\n0,1\n1,oops\n")
    message = failed(capsys, "fit", data, "--time", "time", "--out", fitted)
    assert "node-core fit: " in message
    assert "line 3, column 'x': 'oops' is not a finite number" in message
    data.write_text("time,x\n0,1\n1,2\n2,3\n")
    assert "at least 4 rows, got 3" in failed(capsys, "fit", data, "--time", "time", "--out", fitted, "--holdout", 0)
    assert contents(fitted) == before


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (
            nc.SolverError("step underflow: there", 0.0, 0.0, np.zeros(1), "step underflow"),
            "fit: step underflow: there",
        ),
        (KeyboardInterrupt(), "interrupted; nothing was overwritten"),
    ],
    ids=["SolverError", "Ctrl-C"],
)
@pytest.mark.parametrize("where", ["fit_series", "make_report", "save", "_plot"])
def test_a_fit_that_breaks_off_leaves_a_good_one_as_it_was(where, error, message, fitted, data, capsys, monkeypatch):
    def broken(*_, **__):
        raise error

    before = contents(fitted)
    monkeypatch.setattr(fit_command, where, broken)
    assert message in failed(capsys, "fit", data, "--time", "time", "--out", fitted, "--seed", 1, "--quiet")
    assert contents(fitted) == before


def test_a_write_that_breaks_off_leaves_a_good_model_and_no_rubbish(fitted, data, capsys, monkeypatch):
    def full(file, *_, **__):
        file.write(b"half")
        raise OSError("No space left on device")

    before = contents(fitted)
    monkeypatch.setattr(np, "savez", full)
    assert "No space left" in failed(capsys, "fit", data, "--time", "time", "--out", fitted, "--seed", 1, "--quiet")
    assert contents(fitted) == before


@pytest.mark.parametrize("inside", [False, True])
def test_an_output_folder_that_is_a_file_is_refused_before_any_work(inside, data, tmp_path, capsys, monkeypatch):
    taken = tmp_path / "taken"
    taken.write_text("mine")
    monkeypatch.setattr(fit_command, "fit_series", None)  # must not be reached
    out = taken / "out" if inside else taken
    message = failed(capsys, "fit", data, "--time", "time", "--out", out)
    assert f"the output folder {out} is not writable" in message
    assert taken.read_text() == "mine"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "is empty; wanted a header line"),
        ("t,x\n0,1\n1,2\n", "has no column 'time'; its columns are t, x"),
        ("time,x\n0,1\n", "has 1 row of data"),
        ("time,x\n0,1\n0,2\n", "time 0 repeats 0"),
    ],
)
def test_an_unreadable_series_is_exit_code_one_with_the_place(content, message, data, tmp_path, capsys):
    data.write_text(content)
    assert message in failed(capsys, "fit", data, "--time", "time", "--out", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_missing_file_is_exit_code_one(tmp_path, capsys):
    assert "nowhere.csv" in failed(capsys, "fit", tmp_path / "nowhere.csv", "--time", "t")


# --- predict ---


def test_predict_writes_the_times_asked_for_and_the_models_states(fitted, tmp_path, capsys):
    out, plot = tmp_path / "curve.csv", tmp_path / "curve.png"
    arguments = ["predict", str(fitted / "model.npz"), "--until", "7.1", "--step", "0.5"]
    assert main([*arguments, "--out", str(out), "--plot", str(plot)]) == 0
    said = capsys.readouterr().out
    assert f"wrote 16 rows, time from 0 to 7.1, to {out}" in said
    assert f"wrote {plot}" in said
    header, *rows = list(csv.reader(out.read_text().splitlines()))
    table = np.array(rows, float)
    assert header == ["time", "x", "v"]
    np.testing.assert_allclose(table[:, 0], [*np.arange(0.0, 7.1, 0.5), 7.1])
    assert np.abs(table[:, 1] - 3.0 - np.cos(1.5 * table[:, 0])).max() < 0.3
    assert plot.read_bytes().startswith(b"\x89PNG")


def test_predict_goes_by_the_spacing_of_the_data_into_the_models_folder(fitted, capsys):
    assert main(["predict", str(fitted / "model.npz"), "--until", "2"]) == 0
    rows = (fitted / "predict.csv").read_text().splitlines()[1:]
    np.testing.assert_allclose([float(row.split(",")[0]) for row in rows], [0.0, 0.5, 1.0, 1.5, 2.0])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--until", "-1"], "--until must be later than the model's first time, 0, got -1"),
        (["--until", "0"], "--until must be later than the model's first time"),
        (["--until", "nan"], "--until must be later than the model's first time, 0, got nan"),
        (["--until", "1e9", "--step", "1e-9"], "asks for over 10,000,000 rows"),
    ],
)
def test_predict_refuses_times_that_make_no_sense(arguments, message, fitted, capsys):
    assert message in failed(capsys, "predict", fitted / "model.npz", *arguments)
    assert not (fitted / "predict.csv").exists()


def test_a_model_file_that_is_truncated_missing_or_not_ours_is_refused(fitted, tmp_path, capsys):
    whole = (fitted / "model.npz").read_bytes()
    cut, text, foreign, other = (tmp_path / f"{name}.npz" for name in ("cut", "text", "foreign", "other"))
    cut.write_bytes(whole[: len(whole) // 2])
    text.write_text("hello")
    np.savez(foreign, x=np.ones(2))
    nc.save(other, {"x": np.ones(2)})
    for path, message in [
        (cut, "is truncated or not a node_core file"),
        (text, "is truncated or not a node_core file"),
        (foreign, "was not written by node_core's save"),
        (other, "holds no model written by node-core fit"),
        (tmp_path / "nowhere.npz", "nowhere.npz"),
    ]:
        assert message in failed(capsys, "predict", path, "--until", 5)


# --- the other commands, help, exit codes ---


def test_methods_lists_every_method_with_its_order(capsys):
    assert main(["methods"]) == 0
    header, *rows = capsys.readouterr().out.splitlines()
    assert header.split() == ["method", "order", "kind", "stages", "FSAL", "dense", "description"]
    every = {**METHODS, **SPLIT_METHODS, **ADAMS_METHODS}
    assert [row.split()[0] for row in rows] == list(every)
    assert [int(row.split()[1]) for row in rows] == [m.order for m in every.values()]


def test_info_shows_what_show_config_shows(capsys):
    assert main(["info"]) == 0
    shown = capsys.readouterr().out
    nc.show_config()
    assert shown == capsys.readouterr().out
    assert nc.__version__ in shown
    assert np.__version__ in shown


def test_bench_prints_a_row_for_every_method_and_size_with_both_errors(capsys):
    assert main(["bench", "--methods", "rk4,dopri5", "--sizes", "1,3", "--repeats", "1"]) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines() if line.startswith(("rk4", "dopri5"))]
    assert [row[:2] for row in rows] == [["rk4", "1"], ["rk4", "3"], ["dopri5", "1"], ["dopri5", "3"]]
    assert all(float(row[-1]) < 1e-5 and row[-3].endswith("x") for row in rows)


def test_bench_json_holds_the_configuration_and_the_same_results(capsys):
    assert main(["bench", "--methods", "tsit5", "--sizes", "2", "--repeats", "1", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    (result,) = found["results"]
    assert (result["method"], result["size"]) == ("tsit5", 2)
    assert result["ratio"] == pytest.approx(result["python"] / result["compiled"])
    assert abs(result["error_compiled"] - result["error_python"]) < 1e-9
    assert found["config"]


def test_bench_against_others_names_the_absent_and_writes_json_and_a_picture(capsys, tmp_path, monkeypatch):
    """With no peer there, ours runs alone: the table, the error beside the time, the first call."""

    def absent(*arguments):
        raise ImportError("No module named 'diffrax'")

    monkeypatch.setitem(peers.PEERS, "diffrax", dict.fromkeys(("spiral", "lorenz"), absent))
    monkeypatch.setattr(suite, "BUDGET", 0.01)
    for variable in contest.ONE_THREAD:
        monkeypatch.setenv(variable, "1")
    picture, numbers = tmp_path / "bench.png", tmp_path / "bench.json"
    arguments = ["bench", "--suite", "lorenz", "--against", "diffrax", "--repeats", "1"]
    assert main([*arguments, "--json", str(numbers), "--plot", str(picture)]) == 0
    out, err = capsys.readouterr()
    assert re.search(r"lorenz +node_core +\d+\.\d+ +1\.00x +\d\.\de-\d\d", out)
    assert "lorenz: diffrax is not installed" in err
    (row,) = json.loads(numbers.read_text())["rows"]
    assert row["contestant"] == "node_core"
    assert row["error"] < 1e-5
    assert picture.read_bytes()[:4] == b"\x89PNG"


@pytest.mark.parametrize("command", [[], ["fit"], ["predict"], ["bench"], ["methods"], ["info"]])
def test_help_of_every_command_has_examples_and_is_exit_code_zero(command, capsys):
    with pytest.raises(SystemExit, match=r"^0$"):
        main([*command, "--help"])
    shown = capsys.readouterr().out
    assert "example" in shown
    assert f"  node-core {command[0] if command else 'fit'}" in shown


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "required: COMMAND"),
        (["nonsense"], "invalid choice: 'nonsense'"),
        (["fit", "data.csv"], "required: --time"),
        (["fit", "data.csv", "--time", "t", "--holdout", "1"], "must be at least 0 and less than 1, got 1"),
        (["fit", "data.csv", "--time", "t", "--seed", "-1"], "must not be negative, got -1"),
        (["fit", "data.csv", "--time", "t", "--hidden", "3,0"], "must be positive ints separated by commas, got 3,0"),
        (["predict", "model.npz"], "required: --until"),
        (["predict", "model.npz", "--until", "5", "--step", "0"], "argument --step: must be positive, got 0"),
        (["predict", "model.npz", "--until", "5", "--step", "nan"], "argument --step: must be positive, got nan"),
        (["predict", "model.npz", "--until", "5", "--step", "a"], "argument --step: must be a number, got a"),
        (["fit", "data.csv", "--time", "t", "--holdout", "abc"], "argument --holdout: must be a number, got abc"),
        (["fit", "data.csv", "--time", "t", "--seed", "1.5"], "argument --seed: must be an integer, got 1.5"),
        (["bench", "--sizes", "0"], "must be positive ints"),
        (["bench", "--methods", "rk5"], "method 'rk5' is not known; did you mean 'RK45'"),
        (["bench", "--methods", "rk4,Radau"], "method 'Radau' does not exist yet"),
        (["bench", "--repeats", "0"], "argument --repeats: must be at least 1, got 0"),
        (["bench", "--repeats", "many"], "argument --repeats: must be an integer, got many"),
    ],
)
def test_a_wrong_command_line_is_exit_code_two_with_the_reason(arguments, message, capsys):
    with pytest.raises(SystemExit, match=r"^2$"):
        main(arguments)
    assert message in capsys.readouterr().err


def test_version_is_printed(capsys):
    with pytest.raises(SystemExit, match=r"^0$"):
        main(["--version"])
    assert capsys.readouterr().out == f"node-core {nc.__version__}\n"


def test_python_m_node_core_is_the_same_program_with_its_exit_codes(tmp_path):
    def run(*argv):
        return subprocess.run([sys.executable, "-m", "node_core", *argv], capture_output=True, text=True, cwd=tmp_path)

    done, failing, wrong = run("methods"), run("predict", "nowhere.npz", "--until", "1"), run("fit")
    assert (done.returncode, failing.returncode, wrong.returncode) == (0, 1, 2)
    assert done.stdout.startswith("method")
    assert done.stderr == ""
    assert failing.stderr.startswith("node-core predict: ")
    assert "usage: node-core fit" in wrong.stderr
