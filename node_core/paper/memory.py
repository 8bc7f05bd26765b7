"""What one gradient holds in memory, measured in processes of its own: ``python -m node_core.paper.memory``."""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

from ..models import Classifier, ODENet, ResNet

__all__ = ["gradient_memory", "network"]

CLEAR, STATUS = Path("/proc/self/clear_refs"), Path("/proc/self/status")
# Arrays that are freed go back to the system at once, or the peak would be that of what ran before.
SETTINGS = {"MALLOC_MMAP_THRESHOLD_": "131072", "MALLOC_TRIM_THRESHOLD_": "131072", "OMP_NUM_THREADS": "1"}


def network(name: str, image: tuple[int, int, int], **keywords: Any) -> Classifier:
    """ "ResNet", "RK-Net" or "ODE-Net"; the last two differ in `gradient`."""
    if name == "ResNet":
        return ResNet(image, **keywords)
    return ODENet(image, gradient={"RK-Net": "discrete", "ODE-Net": "adjoint"}[name], **keywords)


def gradient_memory(name: str, image: tuple[int, int, int], batch: int, **keywords: Any) -> float | None:
    """Bytes that a gradient takes for a batch: half the rise of the peak from that batch to three times as many images.

    What does not grow with the batch (the interpreter, parameters, Programs) is not counted. None where the system has
    no /proc to ask, or the process does not succeed.
    """
    if not CLEAR.exists():
        return None
    few, many = (_measured(name, image, n, keywords) for n in (batch, 3 * batch))
    return None if few is None or many is None else (many - few) / 2


def _measured(name: str, image: tuple[int, int, int], batch: int, keywords: dict) -> float | None:
    """`_peak` in a process of its own."""
    task = json.dumps({"name": name, "image": image, "batch": batch, "keywords": keywords})
    ran = subprocess.run([sys.executable, "-m", __name__, task], env={**os.environ, **SETTINGS},
                         capture_output=True, text=True, check=False)  # fmt: skip
    return float(ran.stdout) if ran.returncode == 0 else None


def _peak(name: str, image: Any, batch: int, keywords: dict) -> int:
    """The most bytes resident during a gradient, the function being compiled already."""
    net = network(name, tuple(image), **keywords)
    params, x = net.init(0), np.random.default_rng(1).random((batch, *image)).astype(np.float32)
    targets = np.eye(net.classes, dtype=np.float32)[np.arange(batch) % net.classes]
    net.step_of(params, x, targets)
    gc.collect()
    CLEAR.write_text("5")  # the peak starts again from what is resident now
    net.step_of(params, x, targets)
    line = next(line for line in STATUS.read_text().splitlines() if line.startswith("VmHWM"))
    return 1024 * int(line.split()[1])


if __name__ == "__main__":
    print(_peak(**json.loads(sys.argv[1])))
