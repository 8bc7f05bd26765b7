"""What importing costs, in fresh processes: ``python -m node_core.bench.startup``."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from statistics import median

from ..checks import takes_no_arguments

__all__ = ["import_times", "main"]


def import_times(repeats: int = 21) -> tuple[float, float, float]:
    """Median seconds of a process that imports NumPy and of one that imports node_core, and the ratio.

    What an empty process takes is measured in the same turns and left out of both.
    """
    statements = ("pass", "import numpy", "import node_core")
    seconds: list[list[float]] = [[] for _ in statements]
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}  # pip compiles, too
    for repeat in range(repeats + 1):
        for taken, statement in zip(seconds, statements, strict=True):
            start = time.perf_counter()
            subprocess.run([sys.executable, "-c", statement], check=True, env=environment)
            if repeat:  # the first round warms the file cache
                taken.append(time.perf_counter() - start)
    empty, numpy, ours = map(median, seconds)
    return numpy - empty, ours - empty, (ours - empty) / (numpy - empty)


def main() -> None:
    """Print both times and their ratio."""
    numpy, ours, ratio = import_times()
    print(f"import numpy {numpy * 1e3:.1f} ms, import node_core {ours * 1e3:.1f} ms, ratio {ratio:.2f}")


if __name__ == "__main__":
    takes_no_arguments(__doc__)
    main()
