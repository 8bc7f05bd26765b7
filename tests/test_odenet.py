"""ResNet, RK-Net and ODE-Net: one layout, two gradients of one model; IDX files; the experiments of section 3."""

import gzip
import re
import struct
import sys

import numpy as np
import pytest

import node_core as nc
from node_core.cli.main import main
from node_core.models import Images, ODENet, ResNet, digits, fit_classifier, mnist, read_idx
from node_core.paper import EXPERIMENTS, ForeignFolderError, Training, memory, run
from node_core.paper import classify as experiments

IMAGE = (1, 6, 6)
SMALL = {"classes": 3, "width": 4, "downsamplings": 1}
RNG = np.random.default_rng(0)
X = RNG.random((5, *IMAGE)).astype(np.float32)


def stripes(n=60, seed=0):
    """Images with one bright row, column or corner, and noise: three classes that a small network tells apart."""
    rng = np.random.default_rng(seed)
    x, labels = 0.2 * rng.random((n, *IMAGE)), rng.integers(0, 3, n)
    for image, label in zip(x, labels, strict=True):
        k = rng.integers(1, 5)
        image[0][(k, slice(None)) if label == 0 else (slice(None), k) if label == 1 else (slice(2), slice(2))] += 1
    return x.astype(np.float32), labels


# --- the networks ---


@pytest.mark.parametrize(("kind", "count"), [(ResNet, 576_778), (ODENet, 208_266)])
def test_the_papers_layout_has_the_papers_number_of_parameters(kind, count):
    assert kind().count() == count


def test_the_small_layout_has_a_fraction_of_its_twins_parameters():
    keywords = {"width": 16, "downsamplings": 1}
    assert ODENet((1, 8, 8), **keywords).count() <= 0.4 * ResNet((1, 8, 8), **keywords).count()


@pytest.mark.parametrize("kind", [ResNet, ODENet])
@pytest.mark.parametrize("downsamplings", [0, 1, 2])
def test_shapes(kind, downsamplings):
    net = kind(IMAGE, **{**SMALL, "downsamplings": downsamplings})
    params = net.init(0)
    size = 6 // 2**downsamplings
    assert net.features(params, X).shape == (5, 4, size, size)
    logits = net(params, X)
    assert (logits.shape, logits.dtype) == ((5, 3), np.float32)
    assert 0 <= net.error(params, X, np.zeros(5, int), batch=2) <= 1


def loss_of(net):
    return lambda params, x: np.mean(net(params, x) ** 2) + net(params, x)[0, 1]


@pytest.mark.parametrize("smooth", [True, False])
def test_rk_net_and_ode_net_are_one_model_with_two_gradients_that_agree_to_the_tolerance(smooth, monkeypatch):
    if smooth:  # the kinks of relu cost the solver its order
        monkeypatch.setattr("node_core.models.odenet.relu", lambda x: np.log1p(np.exp(x)))
    keywords = {**SMALL, "dtype": np.float64}
    found, params = {}, ODENet(IMAGE, **keywords).init(0)
    for tolerance in (1e-3, 1e-8):
        nets = [ODENet(IMAGE, gradient=g, rtol=tolerance, atol=tolerance, **keywords) for g in ("discrete", "adjoint")]
        np.testing.assert_array_equal(nets[0](params, X), nets[1](params, X))
        found[tolerance] = [nc.tree.ravel(nc.grad(loss_of(net))(params, X.astype(float)))[0] for net in nets]
    for tolerance, (discrete, adjoint) in found.items():
        difference = np.linalg.norm(discrete - adjoint) / np.linalg.norm(discrete)
        assert difference < (tolerance if smooth else 2e-2 if tolerance == 1e-3 else 2e-3)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("net", [
    ResNet(IMAGE, blocks=2, dtype=np.float64, **SMALL),
    ODENet(IMAGE, gradient="discrete", dtype=np.float64, **SMALL),
    ODENet(IMAGE, gradient="adjoint", dtype=np.float64, **SMALL),
])  # fmt: skip
def test_compiled_equals_uncompiled(net):
    params, x = net.init(0), X.astype(float)
    value, grads = nc.compile(nc.value_and_grad(loss_of(net)))(params, x)
    wanted, wanted_grads = nc.value_and_grad(loss_of(net))(params, x)
    np.testing.assert_allclose(value, wanted, rtol=1e-10)
    got, wanted = nc.tree.ravel(grads)[0], nc.tree.ravel(wanted_grads)[0]
    np.testing.assert_allclose(got, wanted, rtol=1e-7, atol=1e-9 * np.max(np.abs(wanted)))


def test_the_solver_takes_more_evaluations_at_a_finer_tolerance():
    net = ODENet(IMAGE, dtype=np.float64, **SMALL)
    params = net.init(0)
    assert net.nfe(params, X) < net.nfe(params, X, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize(
    ("kind", "keywords"), [(ResNet, {"blocks": 2}), (ODENet, {}), (ODENet, {"gradient": "discrete"})]
)
def test_a_short_training_learns(kind, keywords):
    net = kind(IMAGE, **SMALL, **keywords)
    x, labels = stripes()
    trained = fit_classifier(net, net.init(0), x, labels, steps=60, batch=30, rng=0)
    assert trained.stopped is None
    assert np.mean(trained.losses[-5:]) < 0.5 * np.mean(trained.losses[:5])
    assert net.error(trained.params, *stripes(40, 1)) < 0.3


def test_a_training_goes_on_to_the_same_bits():
    net, (x, labels) = ResNet(IMAGE, blocks=1, **SMALL), stripes()
    whole = fit_classifier(net, net.init(0), x, labels, steps=6, batch=30, shift=1, rng=np.random.default_rng(1))
    rng = np.random.default_rng(1)
    part = fit_classifier(net, net.init(0), x, labels, steps=2, batch=30, shift=1, rng=rng)
    part = fit_classifier(net, part.params, x, labels, steps=4, batch=30, shift=1, rng=rng, state=part.state)
    np.testing.assert_array_equal(nc.tree.ravel(part.params)[0], nc.tree.ravel(whole.params)[0])


def test_shifts_move_each_image_by_its_own_and_bring_in_zeros():
    from node_core.models.odenet import _shifted

    x = np.arange(1.0, 2 * 9 * 50 + 1).reshape(50, 2, 3, 3)
    moved = _shifted(x, 1, np.random.default_rng(0))
    offsets = set()
    for image, got in zip(x, moved, strict=True):
        padded = np.pad(image, ((0, 0), (1, 1), (1, 1)))
        fits = [(i, j) for i in range(3) for j in range(3) if np.array_equal(got, padded[:, i : i + 3, j : j + 3])]
        assert len(fits) == 1
        offsets.add(fits[0])
    assert len(offsets) == 9


@pytest.mark.parametrize(("make", "match"), [
    (lambda: ODENet((8, 8)), r"image must be \(channels, height, width\), got \(8, 8\)"),
    (lambda: ODENet((1, 0, 8)), "image's sizes must be a positive int, got 0"),
    (lambda: ODENet(IMAGE, downsamplings=3), r"an image of \(6, 6\) cannot be halved 3 times"),
    (lambda: ODENet(IMAGE, downsamplings=-1), "downsamplings must be an int of at least 0, got -1"),
    (lambda: ODENet(IMAGE, width=0), "width must be a positive int, got 0"),
    (lambda: ODENet(IMAGE, width=6, groups=4), "6 channels do not divide into 4 groups"),
    (lambda: ResNet(IMAGE, blocks=0), "blocks must be a positive int, got 0"),
    (lambda: fit(x=X[:, :, 1:]), r"x must be \(n, 1, 6, 6\) with n >= 1, got shape \(5, 1, 5, 6\)"),
    (lambda: fit(x=X[:0], labels=np.zeros(0, int)), "with n >= 1"),
    (lambda: fit(labels=np.zeros(4, int)), "labels must be 5 ints"),
    (lambda: fit(labels=np.zeros(5)), "labels must be 5 ints.*float64"),
    (lambda: fit(labels=np.full(5, 3)), "labels must be from 0 to 2, got 3 to 3"),
    (lambda: fit(x=X * np.nan), r"x must be finite, but image 0 has nan at \(0, 0, 0\)"),
    (lambda: fit(x=X.astype(str)), "x must hold real numbers, got <U"),
    (lambda: fit(batch=0), "batch must be a positive int, got 0"),
    (lambda: fit(shift=-1), "shift must be an int of at least 0, got -1"),
])  # fmt: skip
def test_bad_input_is_named(make, match):
    with pytest.raises(ValueError, match=match):
        make()


def fit(x=X, labels=np.zeros(5, int), **keywords):  # noqa: B008, never changed
    net = ODENet(IMAGE, **SMALL)
    return fit_classifier(net, net.init(0), x, labels, steps=1, **keywords)


def test_images_of_another_shape_are_refused():
    net = ODENet(IMAGE, **SMALL)
    with pytest.raises(ValueError, match=r"ODENet: x must be \(N, 1, 6, 6\), got shape \(5, 36\)"):
        net(net.init(0), X.reshape(5, 36))


# --- IDX files ---


def idx(array, code=0x08):
    """The bytes of an IDX file."""
    big = array.astype(array.dtype.newbyteorder(">"))
    return struct.pack(">BBBB", 0, 0, code, array.ndim) + struct.pack(f">{array.ndim}I", *array.shape) + big.tobytes()


def write_mnist(folder, n=30, zipped=False, **changed):
    """Four files as those of MNIST, of random 8 by 8 images; changed: bytes of parts by name."""
    rng = np.random.default_rng(0)
    for part, count in (("train", n), ("t10k", n // 2)):
        files = {"images-idx3": rng.integers(0, 256, (count, 8, 8), np.uint8),
                 "labels-idx1": rng.integers(0, 10, count, np.uint8)}  # fmt: skip
        for kind, array in files.items():
            content = changed.get(f"{part}_{kind[:6]}", idx(array))
            name = f"{part}-{kind}-ubyte"
            (folder / (name + ".gz" if zipped else name)).write_bytes(gzip.compress(content) if zipped else content)


@pytest.mark.parametrize(("code", "dtype"), [
    (0x08, np.uint8), (0x09, np.int8), (0x0B, np.int16), (0x0C, np.int32), (0x0D, np.float32), (0x0E, np.float64),
])  # fmt: skip
@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_every_type_of_idx_file_is_read_plain_and_gzipped(code, dtype, pack, tmp_path):
    array = RNG.integers(0, 100, (2, 3, 4)).astype(dtype)
    (tmp_path / "a").write_bytes(pack(idx(array, code)))
    found = read_idx(tmp_path / "a")
    assert found.dtype == dtype
    assert found.dtype.isnative
    np.testing.assert_array_equal(found, array)


GOOD = idx(np.arange(24, dtype=np.uint8).reshape(2, 3, 4))


@pytest.mark.parametrize(("content", "match"), [
    (b"", "an IDX file begins with two zero bytes.*got nothing"),
    (b"\x01" + GOOD[1:], "begins with two zero bytes.*got 01 00 08 03"),
    (b"\0\0\x07" + GOOD[3:], "one of 0x08, .*got 0x07"),
    (b"\0\0\x08\0", "wanted 1 dimensions"),
    (GOOD[:9], "wanted 3 dimensions of 4 bytes each after the magic number, got 5 bytes"),
    (GOOD[:-1], r"truncated: \(2, 3, 4\) of 1 bytes each are 24 bytes, got 23"),
    (GOOD + b"\0", "too long: .* are 24 bytes, got 25"),
    (gzip.compress(GOOD)[:-12], "truncated or damaged: wanted a whole gzip file"),
    (gzip.compress(GOOD)[:15] + b"\xff\xff" + gzip.compress(GOOD)[17:], "truncated or damaged"),
])  # fmt: skip
def test_a_malformed_idx_file_is_named_with_what_came_and_what_was_wanted(content, match, tmp_path):
    (tmp_path / "bad").write_bytes(content)
    with pytest.raises(ValueError, match=rf"bad(:| is).*{match}"):
        read_idx(tmp_path / "bad")


@pytest.mark.parametrize("zipped", [False, True])
def test_mnist_is_read_from_its_four_files(zipped, tmp_path):
    write_mnist(tmp_path, zipped=zipped)
    found = mnist(tmp_path)
    assert (found.name, found.x.shape, found.test_x.shape) == ("MNIST", (30, 1, 8, 8), (15, 1, 8, 8))
    assert found.x.dtype == np.float32
    assert 0.9 < found.x.max() <= 1
    assert found.labels.shape == (30,)


@pytest.mark.parametrize(("changed", "match"), [
    ({"train_labels": idx(np.zeros(29, np.uint8))}, "train-labels-idx1-ubyte: wanted 30 labels.*got 29"),
    ({"t10k_images": idx(np.zeros(15, np.uint8))}, r"t10k-images-idx3-ubyte: wanted unsigned bytes.*2051.*\(15,\)"),
    ({"t10k_images": idx(np.zeros((15, 8, 8), np.int32), 0x0C)}, "wanted unsigned bytes.*got int32"),
    ({"t10k_images": idx(np.zeros((15, 8, 9), np.uint8))}, r"must be \(1, 8, 8\) .*got \(1, 8, 9\)"),
    ({"train_labels": idx(np.full(30, 10, np.uint8))}, "labels must be from 0 to 9, got 10"),
    ({"train_images": idx(np.zeros((0, 8, 8), np.uint8))}, "at least one"),
])  # fmt: skip
def test_files_that_are_not_those_of_mnist_are_refused(changed, match, tmp_path):
    write_mnist(tmp_path, **changed)
    with pytest.raises(ValueError, match=match):
        mnist(tmp_path)


def test_a_missing_file_is_named(tmp_path):
    write_mnist(tmp_path)
    (tmp_path / "t10k-labels-idx1-ubyte").unlink()
    with pytest.raises(FileNotFoundError, match="must hold the IDX file t10k-labels-idx1-ubyte"):
        mnist(tmp_path)


# --- scikit-learn's digits ---


def test_a_validation_part_is_of_the_images_to_learn_from_alone():
    x = np.arange(20.0).reshape(20, 1, 1, 1)
    data = Images("few", x, np.arange(20), -x, np.zeros(20, int))
    part, same, other = data.validation(0.25, 3), data.validation(0.25, 3), data.validation(0.25, 4)
    assert (len(part.x), len(part.test_x)) == (15, 5)
    assert sorted([*part.labels, *part.test_labels]) == list(range(20))
    np.testing.assert_array_equal(part.x[:, 0, 0, 0], part.labels)
    np.testing.assert_array_equal(part.test_x[:, 0, 0, 0], part.test_labels)
    np.testing.assert_array_equal(part.labels, same.labels)
    assert not np.array_equal(part.labels, other.labels)
    for share in (0.0, 0.01, 0.99, 1.0, -1.0, np.nan, np.inf):
        with pytest.raises(ValueError, match="share must leave images on both sides"):
            data.validation(share)


def test_settings_are_chosen_by_held_out_training_images(monkeypatch, capsys):
    from node_core.paper import choose

    rng = np.random.default_rng(0)
    x, labels = rng.random((40, 1, 8, 8)).astype(np.float32), rng.integers(0, 10, 40)
    nothing = np.full((2, 1, 8, 8), np.nan)  # to test on: it must not be looked at
    monkeypatch.setattr(choose, "digits", lambda: Images("digits", x, labels, nothing, labels[:2]))
    monkeypatch.setitem(choose.PLANS, ("digits", False), choose.Plan(4, 1, 0.1, 16, 1, 1))
    choose.main([1, 2])
    rows = [line.split() for line in capsys.readouterr().out.splitlines()[1:]]
    assert [row[0] for row in rows] == ["1", "2"]
    assert all(0 <= float(error) <= 100 for row in rows for error in (row[1], row[3]))


def test_the_digits():
    pytest.importorskip("sklearn", reason="the digits are those of scikit-learn")
    found = digits()
    assert (found.x.shape, found.test_x.shape, found.x.max()) == ((1300, 1, 8, 8), (497, 1, 8, 8), 1)
    assert np.bincount(found.labels).min() > 100


def test_without_scikit_learn_the_extra_is_named(monkeypatch, tmp_path, capsys):
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(RuntimeError, match=r'not installed \(pip install "node-core\[digits\]"\)'):
        digits()
    assert main(["paper", "odenet", "--quick", "--out", str(tmp_path / "out")]) == 1
    assert "node-core[digits]" in capsys.readouterr().err


# --- the experiments ---


@pytest.fixture
def tiny(monkeypatch):
    """Both experiments on a few images and for a few steps."""
    x, labels = np.random.default_rng(0).random((40, 1, 8, 8)).astype(np.float32), np.arange(40) % 10
    monkeypatch.setattr(experiments, "digits", lambda: Images("digits", x, labels, x[:20], labels[:20]))
    plan = experiments.Plan(width=4, downsamplings=1, rate=0.05, batch=10, epochs=2, seeds=1)
    monkeypatch.setattr(experiments, "PLANS", dict.fromkeys(experiments.PLANS, plan))
    monkeypatch.setattr(experiments, "gradient_memory", lambda *_, **__: 1e6)
    monkeypatch.setattr(experiments, "TOLERANCES", (1e-2, 1e-3))


def drawn(experiment, folder, found):
    """The pictures draw from what the folder holds."""
    figure_module = pytest.importorskip("matplotlib.figure", reason="pictures need matplotlib")
    for draw in experiment.pictures(nc.load(folder / "model.npz")["params"], found["figures"]).values():
        draw(figure_module.Figure())


def test_odenet_trains_reports_and_draws(tiny, tmp_path):
    found = run(EXPERIMENTS["odenet"], tmp_path, quick=True)
    labels = [row["label"] for row in found["rows"]]
    for name in ("ResNet", "RK-Net", "ODE-Net"):
        assert {f"test error, {name}", f"parameters, {name}", f"an epoch, {name}"} <= set(labels)
    assert found["data"] == "digits"
    printed = {row["label"]: row["printed"] for row in found["rows"]}
    assert printed["test error, ODE-Net"] == "0.42 % (MNIST)"
    assert printed["parameters, ResNet"] == "0.6 M (MNIST)"
    assert printed["memory of a gradient, ODE-Net"] == "O(1)"
    assert printed["an epoch, RK-Net"] == "O(L~)"
    assert "rate 0.1; dopri5 at 1e-3" in found["settings"]
    drawn(EXPERIMENTS["odenet"], tmp_path, found)


def test_error_control_resumes_with_its_counts_and_draws(tiny, tmp_path):
    experiment = EXPERIMENTS["error-control"]

    def interrupt(key, step, *_):
        if step == 6:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(experiment, tmp_path, quick=True, report=interrupt, save_every=0.0)
    found = run(experiment, tmp_path, quick=True)
    figures = found["figures"]["ODE-Net"]
    assert len(figures["nfe by epoch"]) == 3
    assert figures["error"][1] < figures["error"][0] < 0.1
    assert all(n > 0 for key in ("nfe", "backward nfe") for n in figures[key])
    drawn(experiment, tmp_path, found)


def test_on_mnist_the_printed_figures_are_beside_ours_and_the_folder_is_not_that_of_the_digits(
    tiny, tmp_path, capsys, monkeypatch
):
    write_mnist(tmp_path)
    monkeypatch.setattr(experiments, "FULL", ((30, 1, 8, 8), (15, 1, 8, 8)))
    out = tmp_path / "out"
    assert main(["paper", "odenet", "--quick", "--quiet", "--data", str(tmp_path), "--out", str(out)]) == 0
    text = capsys.readouterr().out
    assert "| test error, ODE-Net | 0.42 % |" in text
    assert "| parameters, ResNet | 0.6 M |" in text
    assert "quick, seed 0, MNIST (" in text
    other = EXPERIMENTS["odenet"].on(tmp_path)

    def interrupt(*_):
        raise KeyboardInterrupt

    trainings = other.trainings(True)
    assert all(isinstance(training, Training) for training in trainings)
    with pytest.raises(KeyboardInterrupt):
        run(other, tmp_path / "half", quick=True, save_every=0.0, report=lambda key, step, *_: step > 1 and interrupt())
    with pytest.raises(ForeignFolderError, match=r"data MNIST \(\w{8}\), not of .*data digits"):
        run(EXPERIMENTS["odenet"], tmp_path / "half", quick=True)


def test_images_of_another_size_are_not_called_mnist_and_a_run_on_other_images_is_another_run(tiny, tmp_path, capsys):
    arguments = ["paper", "odenet", "--quick", "--quiet", "--data", str(tmp_path), "--out", str(tmp_path / "out")]
    write_mnist(tmp_path)
    assert main(arguments) == 0
    text = capsys.readouterr().out
    assert re.search(r"\| test error, ODE-Net \| 0.42 % \(MNIST\) \|.*30 \+ 15 images of 8 by 8 \(\w{8}\)", text)
    labels = np.arange(30, dtype=np.uint8) % 10
    write_mnist(tmp_path, train_labels=idx(labels))
    assert main(arguments) == 1
    assert "images of 8 by 8" in capsys.readouterr().err


def test_data_is_only_for_experiments_on_images(tmp_path, capsys):
    assert main(["paper", "spiral", "--data", str(tmp_path)]) == 1
    assert "--data is for experiments on images, and spiral is not one" in capsys.readouterr().err


def test_the_memory_of_a_gradient_grows_with_the_steps_only_where_they_are_kept():
    if not memory.CLEAR.exists():
        pytest.skip("there is no /proc to ask")
    peaks = [memory._measured(name, (1, 8, 8), 400, SMALL) for name in ("RK-Net", "ODE-Net")]
    assert peaks[1] + 1e7 < peaks[0]


def test_the_memory_of_a_gradient_is_what_grows_with_the_batch(monkeypatch):
    monkeypatch.setattr(memory, "CLEAR", memory.Path(__file__))
    monkeypatch.setattr(memory, "_measured", lambda name, image, batch, keywords: 1e8 + 5e4 * batch)
    assert memory.gradient_memory("ResNet", IMAGE, 100) == 5e6
    monkeypatch.setattr(memory, "_measured", lambda *_: None)
    assert memory.gradient_memory("ResNet", IMAGE, 100) is None
