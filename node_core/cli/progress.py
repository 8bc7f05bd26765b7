"""A progress bar for fit: loss, step, time left; tqdm's where it is installed."""

from __future__ import annotations

import sys
import time
from typing import Any

from ..fit import Settings

__all__ = ["Progress"]


class Progress:
    """Counts the iterations of all stages; a stage that ends early hands on what it did not need."""

    def __init__(self, settings: Settings, quiet: bool = False) -> None:
        match, window, whole = settings.iterations
        self.total = match + window * len(settings.horizons) + whole
        self.quiet = quiet
        self.stage, self.left_in_stage = "", 0
        self.done = 0
        self.bar: Any = None
        self.start = self.shown = time.perf_counter()

    def __enter__(self) -> Progress:
        if not self.quiet:
            try:
                from tqdm import tqdm

                self.bar = tqdm(total=self.total, unit="step", dynamic_ncols=True, leave=True)
            except ImportError:
                pass
        return self

    def report(self, stage: str, iteration: int, at_most: int, loss: float) -> None:
        """After every iteration; see `fit.fit_series`."""
        if stage != self.stage:
            self._advance(self.left_in_stage)
            self.stage, self.left_in_stage = stage, at_most
        self.left_in_stage -= 1
        self._advance(1)
        if self.bar is not None:
            self.bar.set_description(f"{stage}, loss {loss:.3e}", refresh=False)
        elif not self.quiet and time.perf_counter() - self.shown > 1:
            self.shown = time.perf_counter()
            left = (self.shown - self.start) / self.done * (self.total - self.done)
            line = f"step {self.done}/{self.total}, {stage}, loss {loss:.3e}, {left:.0f} s left at most"
            print(line, file=sys.stderr, flush=True)

    def _advance(self, steps: int) -> None:
        self.done += steps
        if self.bar is not None:
            self.bar.update(steps)

    def __exit__(self, kind: Any, *_: Any) -> None:
        if kind is None:
            self._advance(self.total - self.done)
        if self.bar is not None:
            self.bar.close()
