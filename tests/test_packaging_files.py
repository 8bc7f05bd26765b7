"""The instruction set that is chosen at import, and the files that the build must find."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from node_core._kernels import build_info

ROOT = Path(__file__).parents[1]
PROGRAM = "from node_core._kernels import build_info; print(build_info()['isa'])"


def run_with_isa(isa):
    env = {**os.environ, "NODE_CORE_ISA": isa}
    return subprocess.run([sys.executable, "-c", PROGRAM], env=env, capture_output=True, text=True, check=False)


def test_the_baseline_can_be_forced():
    assert run_with_isa("baseline").stdout.strip() == "baseline"


def test_an_empty_choice_is_no_choice():
    assert run_with_isa("").stdout.strip() in build_info()["isas"]


def test_an_unknown_instruction_set_is_an_import_error_that_lists_those_built():
    result = run_with_isa("sse9")
    assert result.returncode == 1
    assert "ImportError: NODE_CORE_ISA=sse9 is not known; this build has baseline" in result.stderr


def test_no_generated_c_lies_among_the_sources():
    assert not [p for p in (ROOT / "node_core").rglob("*") if p.suffix in (".c", ".cpp", ".h")]


@pytest.mark.parametrize("name", ["pyproject.toml", "setup.py", "MANIFEST.in", "LICENSE", "node_core/py.typed"])
def test_the_build_finds_its_files(name):
    assert (ROOT / name).is_file()


def test_the_package_index_shows_the_readme():
    assert 'readme = "README.md"' in (ROOT / "pyproject.toml").read_text()
