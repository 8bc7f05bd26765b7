"""The examples run, stay short, and say what they show; the README's Python runs as printed."""

import re
import runpy
from pathlib import Path

import pytest

from node_core.solvers import METHODS

ROOT = Path(__file__).parents[1]
EXAMPLES = sorted((ROOT / "examples").glob("[0-9]*.py"))


def test_the_eight_examples_are_there():
    assert [path.name[:2] for path in EXAMPLES] == ["01", "02", "03", "04", "05", "06", "07", "08"]


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_example_is_under_sixty_lines_and_runs(path, capsys):
    assert len(path.read_text().splitlines()) < 60
    runpy.run_path(str(path), run_name="__main__")
    assert len(capsys.readouterr().out.splitlines()) >= 4


def test_the_measured_orders_are_the_orders(capsys):
    runpy.run_path(str(ROOT / "examples" / "03_convergence_order.py"), run_name="__main__")
    rows = [line.split() for line in capsys.readouterr().out.split("\n\n")[0].splitlines()[1:]]
    assert [row[0] for row in rows] == [name for name in METHODS if not name.startswith("vern")]
    for name, order, measured, *_ in rows:
        assert abs(float(measured) - int(order)) <= 0.15, name


def test_python_blocks_of_the_readme_run_one_after_another(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert len(blocks) >= 2
    names: dict = {}
    for block in blocks:
        exec(compile(block, "README.md", "exec"), names)
    assert names["gradient"].shape == (2, 2)
    assert (tmp_path / "params.npz").exists()


def test_readme_opens_with_the_two_commands_of_a_newcomer():
    commands = re.search(r"```sh\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL).group(1).splitlines()
    assert commands == [
        'pip install ".[plot,progress]" && node-core fit examples/data/hudson_bay.csv --time year --out fit',
        'pip install -e ".[test]" && pytest',
    ]


def test_readme_links_point_to_files_that_exist():
    links = re.findall(r"\]\(([^)#]+)\)", (ROOT / "README.md").read_text())
    missing = [link for link in links if not link.startswith("http") and not (ROOT / link).exists()]
    assert missing == []
    assert "examples/01_derivatives.py" in links
