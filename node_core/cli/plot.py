"""The pictures of fit and predict; imported only when one is drawn (needs matplotlib)."""

from __future__ import annotations

import os

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from ..fit import Model
from ..series import Series

__all__ = ["plot_fit", "plot_prediction"]


def plot_fit(path: str | os.PathLike, series: Series, rows: int, model: Model) -> None:
    """Data, fitted curve and held-out part; for two states also the phase portrait."""
    t = np.linspace(series.t[0], series.t[-1], 400)
    y = model.predict(t)
    two = len(series.columns) == 2
    figure = Figure(figsize=(11 if two else 7, 4.5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(1, 2, width_ratios=[3, 2]) if two else [figure.subplots()]
    for i, name in enumerate(series.columns):
        color = f"C{i}"
        axes[0].plot(t, y[:, i], color=color, label=f"{name}, learned ODE")
        axes[0].plot(series.t[:rows], series.y[:rows, i], "o", color=color, ms=4, label=f"{name}, data")
        axes[0].plot(series.t[rows:], series.y[rows:, i], "o", color=color, ms=5, mfc="white")
    if rows < len(series.t):
        axes[0].axvspan((series.t[rows - 1] + series.t[rows]) / 2, series.t[-1], color="0.92", label="held out")
    axes[0].set(xlabel=series.time, title="Data and learned trajectory")
    axes[0].legend(fontsize="small")
    if two:
        _phase_portrait(axes[1], series, rows, model, y)
    figure.savefig(path, dpi=120, format="png")


def _phase_portrait(axis, series: Series, rows: int, model: Model, y: np.ndarray) -> None:
    """The learned field as arrows, with trajectory and data over it."""
    both = np.vstack([series.y, y])
    low, high = both.min(axis=0), both.max(axis=0)
    margin = 0.08 * (high - low)
    gx, gy = np.meshgrid(*(np.linspace(a - m, b + m, 16) for a, b, m in zip(low, high, margin, strict=True)))
    points = np.stack([gx.ravel(), gy.ravel()], axis=1)
    slope = model.std * model.field(model.params, 0.0, (points - model.mean) / model.std)
    length = np.hypot(*(slope / (high - low)).T)[:, None] + 1e-300
    axis.quiver(*points.T, *(slope / length).T, color="0.75", angles="xy", width=0.003)
    axis.plot(*y.T, color="C2", label="learned ODE")
    axis.plot(*series.y[:rows].T, "o", color="k", ms=4, label="data")
    if rows < len(series.t):
        axis.plot(*series.y[rows:].T, "o", color="k", ms=5, mfc="white", label="held out")
    axis.set(xlabel=series.columns[0], ylabel=series.columns[1], title="Phase portrait")
    axis.legend(fontsize="small")


def plot_prediction(path: str | os.PathLike, model: Model, t: np.ndarray, y: np.ndarray) -> None:
    """A predicted trajectory; what lies past the fitted rows is shaded."""
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    FigureCanvasAgg(figure)
    axis = figure.subplots()
    for i, name in enumerate(model.columns):
        axis.plot(t, y[:, i], color=f"C{i}", label=name)
    if t[-1] > model.t_fitted:
        axis.axvspan(model.t_fitted, t[-1], color="0.92", label="past the fitted rows")
    axis.set(xlabel=model.time, title="Prediction of the learned ODE")
    axis.legend(fontsize="small")
    figure.savefig(path, dpi=120, format="png")
