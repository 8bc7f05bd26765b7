"""The recurrent baseline: what it looks at, gradients, short trainings, what is refused."""

import numpy as np
import pytest

import node_core as nc
from node_core.models import RNNPredictor, fit_series, spirals
from tests.cases import irregular
from tests.oracles import worst


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("told", [True, False])
def test_gradients_of_the_baseline_compiled_and_not_equal_central_differences(told):
    model = RNNPredictor(2, rnn=4, gaps=told)
    params, (_, _, (t, x, mask)) = model.init(0), irregular()
    nc.check_grads(lambda params, x: model.loss(params, t, x, mask), (params, x))
    value, grads = nc.compile(nc.value_and_grad(model.loss))(params, t, x, mask)
    wanted, wanted_grads = nc.value_and_grad(model.loss)(params, t, x, mask)
    assert value == pytest.approx(wanted, rel=1e-12)
    assert worst(grads, wanted_grads) < 1e-12


def test_the_baseline_looks_at_the_past_only_and_goes_on_from_its_predictions():
    model = RNNPredictor(2, rnn=6)
    params, data = model.init(0), spirals(0, 3, kept=30)
    k = 60
    changed = np.where(np.arange(100)[:, None, None] >= k, data.x + 1.0, data.x)
    one, two = (model.predict(params, data.t, x, data.mask) for x in (data.x, changed))
    np.testing.assert_array_equal(one[: k + 1], two[: k + 1])
    assert worst(one[k + 1 :], two[k + 1 :]) > 1e-3
    # a window that ends with its own predictions foretells what the shorter one does
    short = model.extrapolate(params, data.t[:k], data.x[:k], data.mask[:k], data.t[k:])
    longer = np.concatenate([data.x[:k], short[:20]]), np.concatenate([data.mask[:k], np.ones((20, 3))])
    np.testing.assert_allclose(model.extrapolate(params, data.t[:80], *longer, data.t[80:]), short[20:], rtol=1e-12)


def test_only_the_baseline_with_gaps_minds_the_times():
    t, x = np.arange(3.0), np.random.default_rng(0).standard_normal((3, 2, 2))
    for told in (True, False):
        model = RNNPredictor(2, rnn=6, gaps=told)
        params = model.init(0)
        near, far = (model.extrapolate(params, t, x, None, at) for at in ([3.0, 4.0], [5.0, 9.0]))
        assert np.array_equal(near, far) is not told


def test_the_baseline_has_nothing_to_predict_of_series_seen_once():
    model = RNNPredictor(2, rnn=3)
    assert model.loss(model.init(0), [0.0, 1.0], np.ones((2, 2, 2)), np.array([[1, 0], [0, 1]])) == 0.0


@pytest.mark.parametrize("told", [True, False])
def test_a_short_training_of_the_baseline_lowers_the_loss_by_two_thirds(told):
    data = spirals(0, 32, kept=15, points=40)
    model = RNNPredictor(2, rnn=12, gaps=told)
    result = fit_series(model, model.init(0), data.t, data.x, data.mask, steps=60)
    assert result.losses[-1] < result.losses[0] / 3


T, X = np.array([0.0, 1.0, 2.0]), np.zeros((3, 2, 2))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: RNNPredictor(2, rnn=0), "RNNPredictor: rnn must be a positive int, got 0"),
        (lambda: RNNPredictor(2).extrapolate(RNNPredictor(2).init(0), T, X, None, [2.0]), "increasing times after"),
    ],
)  # fmt: skip
def test_a_wrong_setting_is_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()
