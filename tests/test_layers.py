"""The architecture holds: who may import whom, what importing costs, the public names and their docstrings."""

import ast
import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest

import node_core as nc
import node_core.models  # not imported by node_core itself

ROOT = Path(nc.__file__).parent
SOURCES = Path(__file__).parents[1] / "csrc"

# A layer is a folder or a file of node_core; beside it, what it may import of the others.
LAYERS = {
    "_version": set(),
    "autodiff": set(),
    "checks": set(),
    "_kernels": set(),
    "config": {"_kernels", "_version"},
    "program": {"autodiff", "_kernels"},
    "solvers": {"autodiff", "program", "_kernels"},
    "adjoint": {"solvers", "program", "autodiff"},
    "progress": set(),
    "options": {"adjoint", "solvers", "program", "autodiff"},
    "pieces": {"solvers", "program", "autodiff"},
    "solve": {"adjoint", "solvers", "program", "autodiff", "progress", "options", "pieces"},
    "doctor": {"solve", "options", "adjoint", "solvers", "program", "autodiff"},
    "running": {"solve", "options", "autodiff"},
    "steady": {"options", "solvers", "program", "autodiff"},
    "event": {"solve", "options", "solvers", "program", "autodiff"},
    "ivp_arguments": {"options", "solvers", "program", "autodiff"},
    "ivp_gradient": {"event", "solve", "options", "ivp_arguments", "solvers", "program", "autodiff"},
    "ivp": {"ivp_gradient", "options", "progress", "ivp_arguments", "solvers", "program", "autodiff"},
    "nn": {"solve", "options", "program", "autodiff", "checks"},
    "optim": {"autodiff", "_kernels"},
    "storage": {"autodiff"},
    "series": set(),
    "spline": set(),
    "fit": {"nn", "optim", "series", "spline", "solve", "solvers", "autodiff"},
    "models": {"nn", "optim", "solve", "options", "solvers", "program", "autodiff", "storage", "checks"},
    "paper": {"models", "nn", "optim", "solve", "storage", "checks"},
    "bench": {
        "adjoint",
        "_kernels",
        "autodiff",
        "program",
        "solve",
        "solvers",
        "config",
        "nn",
        "optim",
        "storage",
        "models",
        "checks",
    },
    "cli": {"doctor", "fit", "paper", "series", "solve", "solvers", "storage", "bench", "config", "_version"},
    "__main__": {"cli"},
}
THIRD_PARTY = {  # beyond the standard library; NumPy is everyone's
    "cli": {"matplotlib", "tqdm"},
    "progress": {"tqdm"},
    "models": {"sklearn"},
    "bench": {"scipy", "torch", "torchdiffeq", "jax", "diffrax", "numba", "numbalsoda", "autograd", "matplotlib"},
}


def modules():
    """Dotted name within node_core -> path; "" is the package itself."""
    found = {}
    for path in ROOT.rglob("*.py"):
        parts = path.relative_to(ROOT).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


MODULES = modules()


def imports(name, late=True):
    """(dotted names within node_core, top-level names outside) that a module imports when it runs.

    late: count the imports inside functions too. Those under TYPE_CHECKING never run.
    """
    path = MODULES[name]
    package = name.split(".") if path.name == "__init__.py" else name.split(".")[:-1]
    inside, outside = set(), set()
    for node in statements(ast.parse(path.read_text()), late):
        if isinstance(node, ast.Import):
            outside |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            outside.add(node.module.split(".")[0])
        elif isinstance(node, ast.ImportFrom):
            base = [*package[: len(package) - node.level + 1], *(node.module or "").split(".")]
            base = ".".join(part for part in base if part)
            for alias in node.names:
                full = f"{base}.{alias.name}".lstrip(".")
                inside.add(full if full in MODULES else base)
    return inside, outside


def statements(tree, late):
    """All nodes of a module but those under `if TYPE_CHECKING` and, without `late`, those inside functions."""
    for child in ast.iter_child_nodes(tree):
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            continue
        if not late and isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            continue
        yield child
        yield from statements(child, late)


def layer(name):
    return name.split(".")[0]


# --- who may import whom ---


def test_every_layer_of_the_package_is_in_the_table():
    assert {layer(name) for name in MODULES} - {""} == set(LAYERS)


@pytest.mark.parametrize("name", sorted(set(MODULES) - {""}))
def test_module_imports_only_what_its_layer_may(name):
    inside, outside = imports(name)
    allowed = LAYERS[layer(name)] | {layer(name)}
    assert {layer(other) for other in inside} <= allowed
    third_party = {top for top in outside if top not in sys.stdlib_module_names}
    assert third_party <= {"numpy"} | THIRD_PARTY.get(layer(name), set())


KERNEL_IMPORTS = {"cython", "numpy", "cpython", "libc", "node_core._kernels", "os", "weakref"}
C_HEADERS = {"time", "math", "stddef", "stdint", "stdlib", "string"}  # of libc and libm, those that the kernels need


@pytest.mark.parametrize("path", sorted((ROOT / "_kernels").glob("*.p[yx][xdi]")), ids=lambda path: path.name)
def test_kernels_import_only_numpy_libc_and_each_other(path):
    code = re.sub(r"#.*", "", path.read_text())
    found = re.findall(r"^\s*(?:from\s+(\S+)\s+c?import|c?import\s+([^\n]+))", code, re.MULTILINE)
    names = [name.split()[0] for module, several in found for name in (module or several).split(",")]
    strangers = [n for n in names if not any(n == top or n.startswith(f"{top}.") for top in KERNEL_IMPORTS)]
    assert strangers == []
    for included in re.findall(r"^\s*include\s+[\"'](.+)[\"']", code, re.MULTILINE):
        assert (path.parent / included).is_file()
    for header in re.findall(r"cdef\s+extern\s+from\s+[\"'](.+?)[\"']", code):
        assert header.startswith("numpy/") or not SOURCES.is_dir() or (SOURCES / header).is_file()


@pytest.mark.skipif(not SOURCES.is_dir(), reason="csrc/ is there in a checkout only")
def test_c_sources_include_only_each_other_and_libc():
    paths = [path for path in sorted(SOURCES.iterdir()) if path.suffix in (".c", ".h", ".inc")]
    assert paths
    for path in paths:
        for opening, header in re.findall(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]', path.read_text(), re.MULTILINE):
            own = opening == '"' and (SOURCES / header).is_file()
            assert own or header in {f"{name}.h" for name in C_HEADERS}, f"{path.name} includes {header}"


def test_the_table_of_layers_has_no_cycle():
    order, left = [], dict(LAYERS)
    while left:
        free = [name for name, needs in left.items() if needs <= set(order)]
        assert free, f"a cycle among {sorted(left)}"
        order += free
        left = {name: needs for name, needs in left.items() if name not in free}


def test_modules_import_each_other_without_cycles():
    graph = {name: imports(name, late=False)[0] & set(MODULES) for name in MODULES}
    done = set()
    while len(done) < len(graph):
        free = [name for name in graph if name not in done and graph[name] - {name, package_of(name)} <= done]
        assert free, f"a cycle among {sorted(set(graph) - done)}"
        done.update(free)


def package_of(name):
    """`from . import x` within a package names the package, which is being imported then."""
    return name if MODULES[name].name == "__init__.py" else ".".join(name.split(".")[:-1])


@pytest.mark.parametrize("name", ["tableau", "tableaus", "stepper", "control", "interpolation", "order"])
def test_steppers_know_nothing_of_gradients_nor_of_the_kernels(name):
    assert {layer(other) for other in imports(f"solvers.{name}")[0]} <= {"solvers"}


def test_import_of_node_core_brings_neither_plots_nor_progress_nor_the_command_line():
    code = (
        "import sys, node_core\n"
        "unwanted = ['matplotlib', 'tqdm', 'argparse', 'scipy', 'node_core.cli', 'node_core.bench', 'node_core.fit',\n"
        "    'node_core.models']\n"
        "print([name for name in unwanted if name in sys.modules])"
    )
    ran = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False)
    assert (ran.stdout.strip(), ran.stderr) == ("[]", "")


def test_import_of_autodiff_alone_needs_no_kernels():
    """A student may read and run it before anything is compiled."""
    code = f"""
import sys, types
package = types.ModuleType("node_core")
package.__path__ = [{str(ROOT)!r}]
sys.modules["node_core"] = package
from node_core import autodiff
assert autodiff.grad(lambda x: x**2)(3.0) == 6.0
print(sorted({{name.split(".")[1] for name in sys.modules if name.startswith("node_core.")}}))
"""
    ran = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False)
    assert (ran.stdout.strip(), ran.stderr) == ("['autodiff']", "")


# --- public names ---

OF_ISSUE_2 = [
    "grad", "value_and_grad", "vjp", "jvp", "jacobian", "hessian", "check_grads", "stop_gradient", "custom_vjp", "tree",
    "trace", "TraceError", "Graph", "odeint", "odeint_adjoint", "methods", "SolverError", "nn", "NeuralODE", "optim",
    "save", "load", "show_config", "__version__",
]  # fmt: skip
MEMBERS = {
    "nn": [
        "Linear",
        "MLP",
        "NeuralODE",
        "Conv2d",
        "TimeConv2d",
        "GroupNorm",
        "AvgPool2d",
        "Flatten",
        "Sequential",
        "ResidualBlock",
        "RNNCell",
        "GRUCell",
        "Hypernetwork",
        "conv2d",
        "relu",
        "softmax_cross_entropy",
        "gaussian_log_likelihood",
        "bernoulli_log_likelihood",
        "poisson_log_likelihood",
    ],
    "optim": ["SGD", "RMSprop", "Adam", "AdamW", "LBFGS"],
    "tree": ["map", "ravel"],
}


def test_public_names_of_issue_2_are_there():
    assert set(OF_ISSUE_2) <= set(nc.__all__)
    for module, names in MEMBERS.items():
        assert set(names) <= set(getattr(nc, module).__all__)


@pytest.mark.parametrize("name", sorted(name for name in MODULES if name not in ("__main__", "_version")))
def test_every_name_in_all_exists_once(name):
    module = __import__(f"node_core.{name}".rstrip("."), fromlist=["_"])
    names = getattr(module, "__all__", [])
    assert len(set(names)) == len(names)
    assert [n for n in names if not hasattr(module, n)] == []


def public_objects():
    """(dotted name, object) of all that is public: functions, classes and modules, and the classes' own methods."""
    for holder, names in [
        (nc, nc.__all__),
        *((getattr(nc, m), getattr(nc, m).__all__) for m in ("nn", "optim", "tree", "models")),
    ]:
        for name in names:
            thing = getattr(holder, name)
            if not (callable(thing) or inspect.ismodule(thing)):
                continue
            yield f"{holder.__name__}.{name}", thing
            if inspect.isclass(thing):
                for key, member in vars(thing).items():
                    if not key.startswith("_") and inspect.isfunction(member):
                        yield f"{holder.__name__}.{name}.{key}", member


@pytest.mark.parametrize(("name", "thing"), list(public_objects()), ids=[name for name, _ in public_objects()])
def test_every_public_name_has_a_docstring(name, thing):
    doc = vars(thing).get("__doc__") if inspect.isclass(thing) else thing.__doc__
    assert doc
    assert doc.strip()
    assert not (inspect.isclass(thing) and doc.startswith(f"{thing.__name__}("))  # a dataclass's generated one


@pytest.mark.parametrize(
    "thing",
    [t for _, t in public_objects() if inspect.isfunction(t)],
    ids=[n for n, t in public_objects() if inspect.isfunction(t)],
)
def test_every_public_function_is_annotated(thing):
    signature = inspect.signature(thing)
    bare = [p.name for p in signature.parameters.values() if p.annotation is p.empty and p.name != "self"]
    assert bare == []
    assert signature.return_annotation is not signature.empty


def test_every_module_says_its_subject_in_its_first_line():
    for name, path in MODULES.items():
        if path.name == "_version.py":
            continue
        doc = ast.get_docstring(ast.parse(path.read_text()))
        assert doc, name
        assert len(doc.splitlines()[0]) <= 120
