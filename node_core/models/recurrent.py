"""Recurrent nets that predict the next observation of a series: what latent ODEs are compared with."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..checks import whole_number
from ..nn import Linear, RNNCell
from .flow import dtype_of
from .params import like_init
from .series import checked_series, gaps

__all__ = ["RNNPredictor"]


class RNNPredictor:
    """Predicts what is seen next, and goes on from its own predictions (the baseline of Chen et al. 2018, section 5.1).

    d:    components of an observation. rnn: units.
    gaps: whether the cell is told, beside the observation before, the time that has passed since.
    t, x and mask are those of `LatentODE`.
    """

    def __init__(self, d: int, *, rnn: int = 25, gaps: bool = True, dtype: Any = np.float64) -> None:
        self.d, self.gaps = whole_number("RNNPredictor", "d", d), bool(gaps)
        self.cell = RNNCell(d + self.gaps, whole_number("RNNPredictor", "rnn", rnn), dtype=dtype)
        self.out = Linear(rnn, d, dtype)

    def init(self, rng: Any) -> dict[str, Any]:
        """The parameters of cell and output; rng is a NumPy Generator or a seed."""
        rng = np.random.default_rng(rng)
        return {"cell": self.cell.init(rng), "out": self.out.init(rng)}

    def noise(self, rng: Any, n: int, dtype: Any = np.float64) -> None:
        """It needs none."""

    def predict(self, params: Any, t: Any, x: Any, mask: Any = None) -> Any:
        """What is expected (T, N, d) at each time that a series is seen at, from what was seen before it alone.

        Elsewhere it is the last expectation; at a series' first sight the input is zeros.
        """
        x, mask = checked_series("RNNPredictor", self.d, t, x, mask, dtype_of(params))
        return self.out(params["out"], np.stack(self._run(params, t, x, mask)[0]))

    def loss(self, params: Any, t: Any, x: Any, mask: Any, noise: Any = None) -> Any:
        """The mean squared error of `predict` where a series is seen, but for its first time."""
        x, mask = checked_series("RNNPredictor", self.d, t, x, mask, dtype_of(params))
        predicted = self.out(params["out"], np.stack(self._run(params, t, x, mask)[0]))
        later = mask * (np.cumsum(mask, axis=0) > 1.5)
        return np.sum(later[..., None] * (predicted - x) ** 2) / (self.d * np.maximum(np.sum(later), 1))

    def extrapolate(self, params: Any, t: Any, x: Any, mask: Any, at: Any) -> Any:
        """(F, N, d) at increasing times `at` (F,) after t[-1], each prediction being the next input.

        Without gaps one step of the cell is one time of `at`: it has no other notion of time.
        """
        x, mask = checked_series("RNNPredictor", self.d, t, x, mask, dtype_of(params))
        at = np.asarray(at, float)
        if at.ndim != 1 or len(at) == 0 or not np.all(np.diff(np.concatenate([t[-1:], at])) > 0):
            raise ValueError(f"RNNPredictor: at must hold increasing times after t[-1] = {t[-1]}")
        states, last, since = self._run(params, t, x, mask)
        h, rows, passed = states[-1], [], since + (at[0] - t[-1])
        for k in range(len(at)):
            h = self.cell(params["cell"], h, self._input(last, passed))
            last = self.out(params["out"], h)
            rows.append(last)
            passed = 0.0 * passed + (at[k + 1] - at[k] if k + 1 < len(at) else 0.0)
        return np.stack(rows)

    def _run(self, params: Any, t: Any, x: Any, mask: Any) -> tuple[list, Any, Any]:
        """The states that predict each time, T of (N, rnn); the last observation (N, d); the time since (N,)."""
        like_init("RNNPredictor", self, params)
        before, left = gaps(t, mask)  # (T, N), (N,)
        h, last, states = self.cell.start(np.shape(x)[1]), 0.0 * x[0], []
        for k in range(len(t)):
            seen = mask[k][:, None]
            h = h + seen * (self.cell(params["cell"], h, self._input(last, before[k])) - h)
            states.append(h)
            last = last + seen * (x[k] - last)
        return states, last, left

    def _input(self, last: Any, passed: Any) -> Any:
        return np.concatenate([last, passed[:, None]], axis=1) if self.gaps else last

    def __repr__(self) -> str:
        return f"RNNPredictor({self.d}, rnn={self.cell.n_hidden}, gaps={self.gaps})"
