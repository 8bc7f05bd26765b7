"""node-core paper: trainings that resume to the last bit, folders that are not overwritten, reports and tables."""

import itertools
import json
import re
import signal
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

import node_core as nc
from node_core.cli.main import main
from node_core.models import Trained
from node_core.models.training import descend
from node_core.paper import EXPERIMENTS, Experiment, ForeignFolderError, Row, Training, reports, run, table

TARGET = np.array([1.0, -2.0, 0.5])


def experiment(name="fitting", bad_from=None, steps=40):
    """Two small trainings with random batches; from step bad_from on the loss is not finite."""
    calls = {"count": 0}

    def training(key, scale):
        def loss(p, noise):
            return np.sum((p["w"] - scale * TARGET + noise) ** 2)

        def batches(rng):
            while True:
                calls["count"] += 1
                noise = 0.1 * rng.standard_normal(3)
                yield ((noise if bad_from is None or calls["count"] < bad_from else noise * np.nan),)

        def go(params, state, steps, rng, callback):
            return descend(
                loss, params, batches(rng), steps=steps, optimizer=nc.optim.Adam(0.1), state=state, callback=callback
            )

        def measure(params, rng):
            return {"error": float(np.max(np.abs(params["w"] - scale * TARGET)))}

        return Training(key, steps, lambda rng: {"w": rng.standard_normal(3)}, go, measure)

    return Experiment(
        name,
        "two fits",
        lambda quick: [training("one", 1.0), training("two", 2.0)],
        lambda figures: [Row(key, 0.125 if key == "one" else None, found["error"]) for key, found in figures.items()],
        lambda params, figures: {},
    )


def refused(why):
    raise AssertionError(why)


def model_of(folder):
    return nc.load(folder / "model.npz")["params"]


def test_a_run_writes_its_report_and_model_and_no_checkpoint(tmp_path):
    found = run(experiment(), tmp_path / "out", seed=3)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["model.npz", "report.json"]
    assert json.loads((tmp_path / "out" / "report.json").read_text()) == found
    assert (found["experiment"], found["quick"], found["seed"]) == ("fitting", False, 3)
    assert [row["label"] for row in found["rows"]] == ["one", "two"]
    np.testing.assert_allclose(model_of(tmp_path / "out")["one"]["w"], TARGET, atol=0.5)


@pytest.mark.parametrize("stop", [1, 17, 40, 55])
def test_an_interrupted_run_goes_on_to_the_same_bits(tmp_path, stop):
    run(experiment(), tmp_path / "whole")
    steps = 0

    def interrupt(*_):
        nonlocal steps
        steps += 1
        if steps == stop:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(experiment(), tmp_path / "parts", report=interrupt, save_every=0.0)
    assert not (tmp_path / "parts" / "report.json").exists()
    seen = []
    run(experiment(), tmp_path / "parts", report=lambda key, step, *_: seen.append((key, step)), save_every=0.0)
    assert len(seen) == 80 - (stop - 1)
    for key in ("one", "two"):
        np.testing.assert_array_equal(model_of(tmp_path / "parts")[key]["w"], model_of(tmp_path / "whole")[key]["w"])


def test_the_seed_counts(tmp_path):
    run(experiment(), tmp_path / "a", seed=0)
    run(experiment(), tmp_path / "b", seed=1)
    assert np.any(model_of(tmp_path / "a")["one"]["w"] != model_of(tmp_path / "b")["one"]["w"])


def test_a_folder_of_something_else_is_left_alone(tmp_path):
    def interrupt(*_):
        raise KeyboardInterrupt

    for name in ("checkpointed", "reported"):
        (tmp_path / name).mkdir()
    with pytest.raises(KeyboardInterrupt):
        run(experiment(), tmp_path / "checkpointed", report=lambda k, step, *_: interrupt() if step > 1 else None,
            save_every=0.0)  # fmt: skip
    before = (tmp_path / "checkpointed" / "checkpoint.npz").read_bytes()
    for other in ({"seed": 1}, {"quick": True}):
        with pytest.raises(ForeignFolderError, match=r"checkpoint\.npz is the checkpoint of experiment fitting"):
            run(experiment(), tmp_path / "checkpointed", **other)
    with pytest.raises(ForeignFolderError, match="not of experiment another"):
        run(experiment("another"), tmp_path / "checkpointed")
    assert (tmp_path / "checkpointed" / "checkpoint.npz").read_bytes() == before
    run(experiment(), tmp_path / "reported")
    before = (tmp_path / "reported" / "model.npz").read_bytes()
    for other, settings in (("another", {}), ("fitting", {"seed": 1}), ("fitting", {"quick": True})):
        with pytest.raises(ForeignFolderError, match=f"the report of experiment fitting.*not of experiment {other}"):
            run(experiment(other), tmp_path / "reported", **settings)
    assert (tmp_path / "reported" / "model.npz").read_bytes() == before
    nc.save(tmp_path / "checkpoint.npz", {"of": {"experiment": "fitting", "quick": False, "seed": 0}})
    with pytest.raises(ForeignFolderError, match="is the checkpoint of something else"):
        run(experiment(), tmp_path)


def test_a_run_that_has_ended_is_not_run_again(tmp_path):
    found, steps = run(experiment(), tmp_path), []
    before = (tmp_path / "model.npz").read_bytes()
    assert run(experiment(), tmp_path, report=lambda *step: steps.append(step)) == found
    assert steps == []
    assert (tmp_path / "model.npz").read_bytes() == before
    (tmp_path / "model.npz").unlink()
    run(experiment(), tmp_path, report=lambda *step: steps.append(step))
    assert len(steps) == 80
    assert (tmp_path / "model.npz").exists()


@pytest.mark.parametrize("stop", [7, 40])
def test_ctrl_c_keeps_every_step_that_was_taken(tmp_path, stop):
    run(experiment(), tmp_path / "whole")
    before, taken = signal.getsignal(signal.SIGINT), []

    def report(key, step, steps, loss, share):
        taken.append((key, step))
        if len(taken) == stop:
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        run(experiment(), tmp_path / "parts", report=report)
    assert len(taken) == stop
    assert signal.getsignal(signal.SIGINT) is before
    run(experiment(), tmp_path / "parts", report=report)
    assert taken == [(key, step) for key in ("one", "two") for step in range(1, 41)]
    for key in ("one", "two"):
        np.testing.assert_array_equal(model_of(tmp_path / "parts")[key]["w"], model_of(tmp_path / "whole")[key]["w"])


def test_ctrl_c_before_the_first_step_stops_at_once(tmp_path):
    one, *others = experiment().trainings(False)

    def start(rng):
        signal.raise_signal(signal.SIGINT)
        pytest.fail("the start went on")

    slow = replace(experiment(), trainings=lambda quick: [replace(one, start=start), *others])
    with pytest.raises(KeyboardInterrupt):
        run(slow, tmp_path)


def test_what_is_wrong_with_the_data_or_the_folder_leaves_nothing_behind(tmp_path):
    def trainings(quick):
        raise ValueError("no such data")

    with pytest.raises(ValueError, match="no such data"):
        run(replace(experiment(), trainings=trainings), tmp_path / "out")
    assert not (tmp_path / "out").exists()
    (tmp_path / "file").write_text("mine")
    with pytest.raises(NotADirectoryError, match="file is a file; the results need a folder"):
        run(experiment(), tmp_path / "file")


def test_ctrl_c_twice_stops_at_once(tmp_path):
    taken = []

    def report(*_):
        taken.append(None)
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        run(experiment(), tmp_path, report=report)
    assert len(taken) == 1
    assert not (tmp_path / "checkpoint.npz").exists()


def test_a_loss_that_is_not_finite_stops_and_keeps_the_last_good_state(tmp_path):
    with (
        pytest.warns(RuntimeWarning, match="the training stopped at step 25"),
        pytest.raises(RuntimeError, match=r"one: stopped at step 25: the loss is nan.*norm.*checkpoint\.npz"),
    ):
        run(experiment(bad_from=25), tmp_path)
    kept = nc.load(tmp_path / "checkpoint.npz")["present"]
    assert kept["step"] == kept["state"]["step"] == 23  # the loss of step 24 was finite: at the parameters before it
    assert np.all(np.isfinite(kept["params"]["w"]))
    assert not (tmp_path / "report.json").exists()
    steps = []
    run(experiment(), tmp_path, report=lambda *step: steps.append(step[:2]))  # mended, it goes on from there
    assert steps[0] == ("one", 24)


@pytest.mark.parametrize("save_every", [0.0, 100.0])
def test_parameters_that_a_checkpoint_was_made_of_unseen_are_not_the_last_good_ones(tmp_path, save_every):
    def go(params, state, steps, rng, callback):  # down log w by steps of 0.3 / w: the second goes below 0
        return descend(lambda p: np.log(p["w"]), params, itertools.repeat(()), steps=steps,
                       optimizer=nc.optim.SGD(0.3), state=state, callback=callback)  # fmt: skip

    training = Training("log", 9, lambda rng: {"w": np.float64(1.0)}, go, lambda params, rng: {})
    falling = Experiment("falling", "", lambda quick: [training], lambda figures: [], lambda params, figures: {})
    with (
        pytest.warns(RuntimeWarning, match="the loss is nan"),
        pytest.raises(RuntimeError, match=r"checkpoint\.npz holds the parameters of step 3, the last good ones"),
    ):
        run(falling, tmp_path, save_every=save_every)
    kept = nc.load(tmp_path / "checkpoint.npz")["present"]
    assert kept["step"] == 2
    assert kept["params"]["w"] == pytest.approx(1.0 - 0.3 - 0.3 / 0.7, rel=1e-12)


def test_reports_are_collected_in_one_table(tmp_path):
    run(experiment(), tmp_path / "a")
    run(experiment("more"), tmp_path / "b", quick=True, seed=2)
    lines = table(reports(tmp_path, refused)).splitlines()
    assert lines[0] == "| experiment | figure | printed | ours | settings | seconds |"
    assert [line.split(" | ")[:3] for line in lines[2:]] == [
        ["| fitting", "one", "0.125"], ["| fitting", "two", ""], ["| more", "one", "0.125"], ["| more", "two", ""],
    ]  # fmt: skip
    assert "quick, seed 2, 40 steps" in lines[-1]


def test_a_damaged_report_is_named_and_does_not_hide_the_others(tmp_path, capsys):
    for name in "abc":
        run(experiment(name), tmp_path / name)
    (tmp_path / "a" / "report.json").write_text("{")
    (tmp_path / "b" / "report.json").write_text('{"experiment": "b", "quick": true, "seed": 0, "seconds": 1.0}')
    left_out = []
    assert [report["experiment"] for report in reports(tmp_path, left_out.append)] == ["c"]
    assert re.search(r"a.report\.json is damaged: .*; remove it and run its experiment again", left_out[0])
    assert re.search(r"b.report\.json is damaged: it has no rows and no steps; run its experiment", left_out[1])
    assert main(["paper", "table", "--out", str(tmp_path)]) == 1
    shown = capsys.readouterr()
    assert "| c | one |" in shown.out
    assert shown.err.count("left out: ") == 2


@pytest.mark.parametrize("option", [["--quick"], ["--seed", "0"], ["--data", "x"]])
@pytest.mark.parametrize("what", ["list", "table"])
def test_list_and_table_refuse_the_options_of_experiments(what, option, capsys):
    assert main(["paper", what, *option]) == 1
    assert f"{option[0]} is for experiments; `paper {what}` does not take it" in capsys.readouterr().err


@pytest.mark.parametrize("command", [["paper", "spiral"], ["fit", "x.csv", "--time", "t"]])
def test_an_output_folder_without_a_name_is_refused(command, capsys):
    with pytest.raises(SystemExit, match="2"):
        main([*command, "--out", ""])
    assert "must name a folder, got an empty name" in capsys.readouterr().err


def test_a_fit_and_a_run_of_the_paper_do_not_take_each_others_folder(tmp_path, capsys):
    csv = tmp_path / "x.csv"
    csv.write_text("t,x\n" + "".join(f"{k},{k % 3}\n" for k in range(9)))
    run(experiment("spiral"), tmp_path / "paper")
    before = {path.name: path.read_bytes() for path in (tmp_path / "paper").iterdir()}
    assert main(["fit", str(csv), "--time", "t", "--out", str(tmp_path / "paper"), "--quiet"]) == 1
    assert re.search(r"holds model\.npz and report\.json of a run of `node-core paper spiral`, which the fit would "
                     "overwrite; choose another --out", capsys.readouterr().err)  # fmt: skip
    assert before == {path.name: path.read_bytes() for path in (tmp_path / "paper").iterdir()}

    fitted = tmp_path / "fit"
    fitted.mkdir()
    (fitted / "report.json").write_text('{"settings": {}, "seed": 0, "rmse": {}}')
    with pytest.raises(ForeignFolderError, match="is the report of something else, such as a fit, not of experiment"):
        run(experiment(), fitted)
    (fitted / "report.json").unlink()
    nc.save(fitted / "model.npz", {"w": np.ones(2)})
    with pytest.raises(ForeignFolderError, match=r"model\.npz is not a model of fitting; choose another --out"):
        run(experiment(), fitted)
    assert main(["fit", str(csv), "--time", "t", "--out", str(fitted), "--quiet"]) == 1
    assert "holds model.npz of no earlier fit" in capsys.readouterr().err


def test_a_loss_that_is_never_finite_is_told_so_and_leaves_the_first_parameters(tmp_path):
    with (
        pytest.warns(RuntimeWarning, match="the loss is nan"),
        pytest.raises(RuntimeError, match=r"holds the parameters of step 1, the first: none had a finite loss"),
    ):
        run(experiment(bad_from=1), tmp_path)


def test_a_run_tells_how_much_of_all_trainings_is_done(tmp_path):
    shares = []
    run(experiment(), tmp_path, report=lambda *step: shares.append(step[-1]))
    np.testing.assert_allclose(shares, np.arange(1, 81) / 80)


def test_a_damaged_checkpoint_is_told_with_what_to_do(tmp_path):
    (tmp_path / "checkpoint.npz").write_bytes(b"PK")
    with pytest.raises(ValueError, match=r"truncated .*; remove it to start anew, or choose another --out"):
        run(experiment(), tmp_path)


def test_where_there_is_no_run_of_the_paper_there_is_no_table(tmp_path):
    with pytest.raises(ValueError, match="holds no report"):
        reports(tmp_path / "b" / "nothing", refused)


def test_the_command_line(tmp_path, capsys):
    assert main(["paper", "list"]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == list(EXPERIMENTS)
    assert main(["paper", "spiral", "--quick", "--quiet", "--out", str(tmp_path / "spiral")]) == 0
    assert "| spiral | mean absolute error" in capsys.readouterr().out
    names = {path.name for path in (tmp_path / "spiral").iterdir()}
    assert {"report.json", "model.npz"} <= names <= {"report.json", "model.npz", "spiral.png"}
    assert json.loads((tmp_path / "spiral" / "report.json").read_text())["rows"][0]["ours"] < 0.6
    assert main(["paper", "table", "--out", str(tmp_path)]) == 0
    assert "| spiral |" in capsys.readouterr().out
    assert main(["paper", "table", "--out", str(tmp_path / "none")]) == 1
    with pytest.raises(SystemExit) as exit_:
        main(["paper", "latent"])
    assert exit_.value.code == 2


@pytest.mark.parametrize("name", ["cnf-density", "cnf-likelihood", "latent-spiral", "poisson"])
def test_the_experiments_train_report_and_draw(name, tmp_path, monkeypatch):
    chosen = EXPERIMENTS[name]
    short = [Training(t.key, 3, t.start, t.go, t.measure) for t in chosen.trainings(True)]
    monkeypatch.setattr("node_core.paper.flows.DRAWN", 200)
    small = Experiment(chosen.name, chosen.title, lambda quick: short, chosen.rows, chosen.pictures)
    found = run(small, tmp_path, quick=True)
    assert len(found["rows"]) >= len(short)
    assert all(np.isfinite(row["ours"]) for row in found["rows"])
    figure_module = pytest.importorskip("matplotlib.figure", reason="pictures need matplotlib")
    for draw in chosen.pictures(model_of(tmp_path), found["figures"]).values():
        draw(figure_module.Figure())


def test_trainings_of_one_stream_have_the_same_draws(tmp_path):
    def training(key, stream):
        def go(params, state, steps, rng, callback):
            return Trained({**params, "batch": rng.standard_normal(2)}, [0.0] * steps, None, {"step": steps})

        return Training(key, 1, lambda rng: {"w": rng.standard_normal(2)}, go, lambda params, rng: {}, stream)

    several = [training("slow", "model"), training("fast", "model"), training("alone", None), training("model", None)]
    drawing = Experiment("drawing", "", lambda quick: several, lambda figures: [], lambda params, figures: {})
    run(drawing, tmp_path)
    found = {key: [*params["w"], *params["batch"]] for key, params in model_of(tmp_path).items()}
    assert found["slow"] == found["fast"] == found["model"] != found["alone"]


def test_the_rate_of_a_model_of_spirals_is_chosen_by_validation_and_not_by_the_test():
    from node_core.paper import latent

    figures = {
        "latent ODE, 30/100, rate 0.01": {"validation": 0.2, "RMSE": 0.9, "RMSE, not refined": 1.9},
        "latent ODE, 30/100, rate 0.003": {"validation": 0.3, "RMSE": 0.1, "RMSE, not refined": 1.1},
        "latent ODE, ELBO alone, 30/100, rate 0.01": {"validation": 0.1, "RMSE": 0.7, "RMSE, not refined": 1.7},
        "RNN, 30/100, rate 0.01": {"validation": np.nan, "RMSE": 0.2},
        "RNN, 30/100, rate 0.003": {"validation": 5.0, "RMSE": 0.8},
    }
    rows = {row.label: (row.printed, row.ours) for row in latent.LATENT.rows(figures)}
    assert rows == {
        "RMSE beyond the window, latent ODE, 30/100, rate 0.01": (0.1642, 0.9),
        "RMSE beyond the window, latent ODE, ELBO alone, 30/100, rate 0.01": (None, 0.7),
        "RMSE beyond the window, RNN, 30/100, rate 0.003": (0.3937, 0.8),
        "RMSE beyond the window, not refined, latent ODE, 30/100, rate 0.01": (None, 1.9),
        "RMSE beyond the window, not refined, latent ODE, ELBO alone, 30/100, rate 0.01": (None, 1.7),
    }
    assert {t.key for t in latent.LATENT.trainings(False)} >= set(figures)


def test_progress_without_tqdm_tells_the_time_that_is_left(tmp_path):
    code = (
        "import sys, time; sys.modules['tqdm'] = None\n"
        "from node_core.cli.paper import Progress\n"
        "with Progress(False) as p:\n"
        "    p.report('one', 1, 10, 0.5, 0.1); p.shown -= 2; p.start -= 2; p.began -= 120\n"
        "    p.report('one', 3, 10, 0.25, 0.3)\n"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "one: step 3/10, loss 0.25, " in ran.stderr
    assert "s left; of the run 30 %, about 7 min left" in ran.stderr  # 20 % took two minutes
