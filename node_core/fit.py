"""Learn an autonomous neural ODE from one trajectory: dz/dtau = scale * MLP(z) on z-scored states and time.

Least squares on the solution from a random start ends, for oscillating data, in the flat line through the
mean. Three stages lead past it: (1) match the derivative of a smoothing spline, which needs no solve; (2)
solve over windows of growing length, each started on the spline; (3) solve the whole trajectory, its
initial state learned too. Each stage is a full-batch L-BFGS, so that a seed gives the same bits every time.
Training steps are fixed: a step control that accepts one step more or less puts jumps into the loss, at
which the line search stops. The model that comes out is solved with step control, and its errors are those.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from .autodiff import tree, value_and_grad
from .nn import MLP, NeuralODE
from .optim import LBFGS
from .series import Series, digits
from .solve import odeint
from .solvers import SolverError, Stats
from .spline import SmoothingSpline

__all__ = ["Model", "Settings", "fit_series"]

MODEL_FORMAT = "node_core autonomous mlp 1"
SMOOTHING = 1e-6  # of the spline, on z-scored data: just enough to join noisy neighbours
POINTS_AN_INTERVAL = 8  # where the spline's derivative is matched
WINDOW_STEPS = 4  # classical Runge-Kutta steps an interval, over windows
WHOLE_STEPS = 8  # and over the whole: with 4 the field learns to lean on the solver's error


@dataclass(frozen=True)
class Settings:
    """What a fit is made with; kept in the report.

    hidden: units of the hidden layers. method, rtol, atol: how the fitted model is solved. horizons: window
    lengths of stage 2, in rows. iterations: at most so many of L-BFGS for the derivative match, for each
    horizon, and for the whole.
    """

    seed: int = 0
    hidden: tuple[int, ...] = (32,)
    method: str = "tsit5"
    rtol: float = 1e-6
    atol: float = 1e-6
    horizons: tuple[int, ...] = (1, 2, 4, 8)
    iterations: tuple[int, int, int] = (400, 100, 200)


@dataclass
class Model:
    """A fitted series: the parameters, and the units they work in.

    states are ``mean + std * z`` and times ``t0 + t_std * tau``; z0 is the learned state at tau = 0, and
    scale (d,) the size of dz/dtau, so that the MLP's output is of order one.
    """

    time: str
    columns: tuple[str, ...]
    hidden: tuple[int, ...]
    t0: float
    t_std: float
    t_step: float
    t_fitted: float
    mean: np.ndarray
    std: np.ndarray
    scale: np.ndarray
    z0: np.ndarray
    params: Any
    method: str
    rtol: float
    atol: float
    nfev_forward: int = 0
    nfev_backward: int = 0

    @property
    def mlp(self) -> MLP:
        return MLP([len(self.columns), *self.hidden, len(self.columns)])

    def field(self, params: Any, tau: Any, z: Any) -> Any:
        """dz/dtau at z (..., d)."""
        return self.scale * self.mlp(params, z)

    @property
    def ode(self) -> NeuralODE:
        return NeuralODE(
            self.field,
            gradient="discrete",
            method=self.method,
            rtol=self.rtol,
            atol=self.atol,
            max_num_steps=10_000,
            full_output=True,
        )

    def predict(self, t: np.ndarray) -> np.ndarray:
        """The states (len(t), d) at increasing times t (m,), none before t0."""
        t = np.asarray(t, float)
        tau = (t - self.t0) / self.t_std
        if len(tau) == 0 or tau[0] < -1e-12 or not np.all(np.diff(tau) > 0):
            raise ValueError(f"predict: times must increase and start at {digits(self.t0)} or later, got {t[:3]} ...")
        grid = np.concatenate([[0.0], tau[tau > 0]])
        if len(grid) == 1:
            return self.mean + self.std * self.z0[None]
        with self.errors_in_units_of_the_data():
            z, _ = self.ode(self.params, self.z0, grid)
        return self.mean + self.std * z[len(grid) - len(tau) :]

    @contextmanager
    def errors_in_units_of_the_data(self, starts: np.ndarray | None = None, lengths: np.ndarray | None = None) -> Any:
        """Within it a SolverError of a solve in (tau, z) speaks of the data's times, states and columns.

        starts, lengths (windows,): of a batch of windows, each brought to [0, 1], in tau.
        """
        try:
            yield
        except SolverError as error:
            raise _in_units_of_the_data(error, self, starts, lengths) from error

    def to_tree(self) -> dict[str, Any]:
        """What `nc.save` keeps of it."""
        content = {"format": MODEL_FORMAT, **self.__dict__}
        content["columns"], content["hidden"] = list(self.columns), list(self.hidden)
        return content

    @classmethod
    def from_tree(cls, content: Any) -> Model:
        """The model in a loaded tree. Raises ValueError if it is something else."""
        if not isinstance(content, dict) or content.get("format") != MODEL_FORMAT:
            raise ValueError("the file holds no model written by node-core fit")
        content = {key: value for key, value in content.items() if key != "format"}
        if set(content) != set(cls.__dataclass_fields__):
            raise ValueError("the model file lacks fields of this version of node-core")
        try:
            content["columns"], content["hidden"] = tuple(content["columns"]), tuple(content["hidden"])
            model = cls(**content)
            model.mlp(model.params, model.z0)
        except (TypeError, ValueError, LookupError) as error:
            raise ValueError(f"the model file is damaged: {error}") from error
        return model


def _in_units_of_the_data(
    error: SolverError, model: Model, starts: np.ndarray | None, lengths: np.ndarray | None
) -> SolverError:
    """The error with its times, its step, its state and its components in the words of the data."""
    component = re.search(r"\bcomponent (\d+)", str(error))
    window = int(component[1]) // len(model.columns) if component and starts is not None else 0
    start, length = (0.0, 1.0) if starts is None else (float(starts[window]), float(lengths[window]))

    def time(tau: float) -> float:
        return model.t0 + model.t_std * (start + length * tau)

    def step(h: float) -> float:
        return model.t_std * length * h

    message = re.sub(r"\bt = ([-+.\de]*\d)", lambda m: f"{model.time} = {digits(time(float(m[1])))}", str(error))
    message = re.sub(r"\bh = ([-+.\de]*\d)", lambda m: f"h = {step(float(m[1])):.3g}", message)
    message = re.sub(
        r"\bcomponent (\d+)", lambda m: f"column {model.columns[int(m[1]) % len(model.columns)]!r}", message
    )
    # what odeint advises of func and its options is of no use here: the field is learned
    message = re.sub(r"( rejected\)\.).*", r"\1", message).replace("func returned", "the learned field has")
    y = model.mean + model.std * error.y if np.shape(error.y)[-1:] == np.shape(model.mean) else error.y
    return SolverError(message, time(error.t), step(error.h), y, error.reason)


Report = Callable[[str, int, int, float], Any]  # stage, iteration, iterations at most, loss


def fit_series(series: Series, settings: Settings, report: Report = lambda *_: None) -> Model:
    """Fit a series of at least 4 rows; report(stage, iteration, at most, loss) after every iteration.

    Raises ValueError if a column does not vary or the series is too short, SolverError if the field that
    was learned cannot be solved.
    """
    rows = len(series.t)
    if rows < 4:
        raise ValueError(f"fitting needs at least 4 rows, got {rows} (those held out do not count)")
    mean, std = series.y.mean(axis=0), series.y.std(axis=0)
    for name, column in zip(series.columns, series.y.T, strict=True):
        if not np.ptp(column) > 0:  # std may be 1e-17 here
            raise ValueError(f"column {name!r} does not vary over the fitted rows; leave it out with --columns")
    t_std = float(series.t.std())
    tau, z = (series.t - series.t[0]) / t_std, (series.y - mean) / std  # (rows,), (rows, d)
    spline = SmoothingSpline(tau, z, SMOOTHING)
    x = np.linspace(tau[0], tau[-1], POINTS_AN_INTERVAL * (rows - 1) + 1)
    values, slopes = spline(x)
    scale = np.sqrt(np.mean(slopes**2, axis=0))
    model = Model(
        series.time, series.columns, settings.hidden, float(series.t[0]), t_std,
        float(np.median(np.diff(series.t))), float(series.t[-1]), mean, std, scale, z[0].copy(), None,
        settings.method, settings.rtol, settings.atol,
    )  # fmt: skip
    params = model.mlp.init(settings.seed)
    match, window, whole = settings.iterations
    solves: list[Stats] = []  # of every solve of the training
    with np.errstate(over="ignore", invalid="ignore"):  # a wild trial step is refused, not reported
        params = _minimize("derivatives", _matching_loss(model, values, slopes), params, match, report)
        for horizon in settings.horizons:
            if horizon < rows - 1:
                loss = _window_loss(model, spline.g, z, tau, horizon, solves)
                params = _minimize(f"horizon {horizon}", loss, params, window, report)
        start = {"params": params, "z0": model.z0}
        found = _minimize("whole", _whole_loss(model, z, tau, solves), start, whole, report)
    model.params, model.z0 = found["params"], found["z0"]
    model.nfev_forward = sum(stats.nfev for stats in solves)
    model.nfev_backward = sum(stats.nfev_backward for stats in solves)
    return model


def _minimize(stage: str, loss: Callable, params: Any, iterations: int, report: Report) -> Any:
    """L-BFGS with a report after every iteration. A trial point that cannot be solved counts as infinite."""
    gradient = value_and_grad(loss)
    started = False

    def evaluate(params: Any) -> tuple[Any, Any]:
        nonlocal started
        try:
            found = gradient(params)
        except SolverError:
            if not started:
                raise
            return np.inf, tree.map(np.zeros_like, params)
        started = True
        return found

    def after(iteration: int, value: float) -> None:
        report(stage, iteration + 1, iterations, value)

    return LBFGS(memory=20, max_iterations=iterations).minimize(evaluate, params, after)[0]


def _matching_loss(model: Model, z: np.ndarray, slopes: np.ndarray) -> Callable:
    """Stage 1: the field at points z (k, d) of the spline against its derivative there."""

    def loss(params: Any) -> Any:
        return np.mean(((model.field(params, 0.0, z) - slopes) / model.scale) ** 2)

    return loss


def _window_loss(
    model: Model, starts: np.ndarray, z: np.ndarray, tau: np.ndarray, horizon: int, solves: list
) -> Callable:
    """Stage 2: all windows of `horizon` intervals at once, as one batch.

    Window w runs from row w. Interval j of each is brought to [0, 1] by its own length, so that irregular
    times need no grid of their own.
    """
    windows, dtau = len(z) - horizon, np.diff(tau)

    def stretched(s: Any, batch: Any, params: Any, lengths: Any) -> Any:
        return lengths * model.field(params, s, batch)

    def loss(params: Any) -> Any:
        batch, total = starts[:windows], 0.0
        for j in range(horizon):
            lengths = dtau[j : j + windows, None]  # (windows, 1)
            with model.errors_in_units_of_the_data(tau[j : j + windows], lengths[:, 0]):
                ys, stats = odeint(
                    stretched,
                    batch,
                    [0.0, 1.0],
                    args=(params, lengths),
                    method="rk4",
                    step_size=1.0 / WINDOW_STEPS,
                    full_output=True,
                )
            solves.append(stats)
            batch = ys[-1]  # (windows, d)
            total = total + np.mean((batch - z[j + 1 : j + 1 + windows]) ** 2)
        return total / horizon

    return loss


def _whole_loss(model: Model, z: np.ndarray, tau: np.ndarray, solves: list) -> Callable:
    """Stage 3: one solve through all rows, from a state that is learned as well."""
    fraction = np.arange(WHOLE_STEPS) / WHOLE_STEPS
    fine = np.append((tau[:-1, None] + np.diff(tau)[:, None] * fraction).ravel(), tau[-1])

    def func(tau: Any, z: Any, params: Any) -> Any:
        return model.field(params, tau, z)

    def loss(both: dict) -> Any:
        with model.errors_in_units_of_the_data():
            ys, stats = odeint(func, both["z0"], fine, args=(both["params"],), method="rk4", full_output=True)
        solves.append(stats)
        return np.mean((ys[::WHOLE_STEPS] - z) ** 2)

    return loss
