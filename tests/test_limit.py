"""The program written by hand, which the benchmark takes for the limit, computes the same gradient."""

import re
import shutil

import numpy as np
import pytest

from node_core.bench import limit
from node_core.bench.workloads import Spiral

needs_compiler = pytest.mark.skipif(shutil.which("cc") is None, reason="there is no C compiler")


@needs_compiler
def test_the_hand_written_spiral_has_the_same_gradient(capsys):
    assert limit._spiral(Spiral(), turns=1, calls=1) < 1e-10
    out = capsys.readouterr().out
    assert "x the limit" in out
    assert re.search(r"around the solve: -?\d+\.\d{3} ms compiled, -?\d+\.\d{3} ms without", out)


@needs_compiler
def test_the_hand_written_spiral_refuses_more_steps_or_outputs_than_it_has_room_for():
    w = Spiral()
    _, record = limit._ours(w)
    long = {**record, "t": np.linspace(0.0, 0.2, 65), "h": np.full(65, 0.2 / 64)}
    with pytest.raises(ValueError, match=r"takes 1 to 64 steps and up to 64 later outputs, got 65 and 9"):
        limit._limit(w, long)()
    w.t = np.linspace(0.0, 0.2252, 66)
    w.target = np.zeros((66, 20, 2))
    with pytest.raises(ValueError, match=r"up to 64 later outputs, got 3 and 65"):
        limit._limit(w, {**record, "at": np.zeros(66, int)})()
