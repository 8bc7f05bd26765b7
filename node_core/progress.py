"""A bar of how far a solve has got in time: tqdm's (the extra `progress`), or lines now and then."""

from __future__ import annotations

import sys
import time
from typing import Any

__all__ = ["TimeBar"]

EVERY = 1.0  # seconds between lines


class TimeBar:
    """``bar(t)`` shows how much of the way from start to end is done; a context manager that ends the bar."""

    def __init__(self, start: float, end: float) -> None:
        self.start, self.end, self.began = start, end, time.monotonic()
        self.shown, self.bar = self.began, None
        try:
            from tqdm import tqdm

            form = "{l_bar}{bar}| {elapsed}<{remaining}{postfix}"
            self.bar = tqdm(total=100.0, bar_format=form, delay=0.5, leave=False, dynamic_ncols=True)
        except ImportError:
            pass

    def __call__(self, t: float) -> None:
        now = time.monotonic()
        if now - self.shown < (0.1 if self.bar is not None else EVERY):
            return
        self.shown, done = now, (t - self.start) / (self.end - self.start)
        if self.bar is not None:
            self.bar.set_postfix_str(f"t = {t:.6g}", refresh=False)
            self.bar.update(100.0 * done - self.bar.n)
        else:
            left = f", {(now - self.began) * (1 - done) / done:.0f} s left" if done > 0 else ""
            print(f"t = {t:.6g} of {self.end:.6g}, {100 * done:.0f} %{left}", file=sys.stderr, flush=True)

    def __enter__(self) -> TimeBar:
        return self

    def __exit__(self, *_: Any) -> None:
        if self.bar is not None:
            self.bar.close()
