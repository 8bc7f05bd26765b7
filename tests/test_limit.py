"""The program written by hand, which the benchmark takes for the limit, computes the same gradient."""

import shutil

import pytest

from node_core.bench import limit
from node_core.bench.workloads import Spiral


@pytest.mark.skipif(shutil.which("cc") is None, reason="there is no C compiler")
def test_the_hand_written_spiral_has_the_same_gradient(capsys):
    assert limit._spiral(Spiral(), turns=1, calls=1) < 1e-10
    assert "x the limit" in capsys.readouterr().out
