"""Build: csrc/ once for each instruction set, as static libraries, and the Cython modules that link to them.

Everything else about the package is in pyproject.toml. NODE_CORE_SANITIZE=1 builds with gcc's or clang's
address and undefined-behaviour sanitizers, for our own checks.
"""

import os
import platform
import sys
from glob import glob

import numpy
from Cython.Build import cythonize
from setuptools import Extension, setup

HEADERS = sorted(glob("csrc/*.h") + glob("csrc/*.inc"))
SANITIZE = os.environ.get("NODE_CORE_SANITIZE") == "1"
# Never -ffast-math: NaN and infinity must be seen. Never -march=native: a wheel runs on other machines.
FLAGS = "-std=gnu11 -fno-math-errno -fno-trapping-math -ffp-contract=fast -Wall -Wextra -fPIC -fvisibility=hidden"
CHECK_FLAGS = "-fsanitize=address,undefined -fno-omit-frame-pointer -g -O1"
X86_FLAGS = {"avx2": "-mavx2 -mfma", "avx512": "-mavx512f -mavx512dq -mavx512vl -mfma"}
WINDOWS = sys.platform == "win32"
HAS_X86_ISAS = not WINDOWS and platform.machine().lower() in ("x86_64", "amd64")


def optimisation() -> list[str]:
    return CHECK_FLAGS.split() if SANITIZE else ["-O3", "-g0"]  # Python asks for -g, which is half of the wheel


def c_library(name: str, sources: list[str], flags: str = "", macros: tuple = ()) -> tuple[str, dict]:
    """A static library in the form that setuptools' build_clib wants; a changed header rebuilds it."""
    return name, {
        "sources": sources,
        "include_dirs": ["csrc"],
        "macros": list(macros),
        "cflags": [*optimisation(), *FLAGS.split(), *flags.split()],
        "obj_deps": {"": HEADERS},
    }


isa_macros = (("NC_HAVE_X86_ISAS", "1"),) if HAS_X86_ISAS else ()
isa_flags = {"baseline": "", **(X86_FLAGS if HAS_X86_ISAS else {})}
# The linker resolves from left to right: what chooses a kernel table comes before the tables.
libraries = [c_library("nc_core", ["csrc/nc_isa.c", "csrc/nc_record.c", "csrc/nc_run.c"], macros=isa_macros)]
libraries += [c_library(f"nc_{isa}", [f"csrc/nc_kernels_{isa}.c"], flags) for isa, flags in isa_flags.items()]

extensions = [
    Extension(
        "node_core._kernels.rk",
        ["node_core/_kernels/rk.pyx"],
        include_dirs=["csrc", numpy.get_include()],
        define_macros=[("NPY_NO_DEPRECATED_API", "NPY_2_0_API_VERSION")],
        extra_compile_args=[*optimisation(), "-std=gnu11", "-fvisibility=hidden"],
        # -lm last: the static libraries need it, and a Python that has it linked in cannot be counted on
        extra_link_args=[*(["-fsanitize=address,undefined"] if SANITIZE else []), *([] if WINDOWS else ["-lm"])],
        depends=[*HEADERS, *sorted(glob("csrc/*.c"))],
    )
]

setup(
    libraries=libraries,
    ext_modules=cythonize(extensions, build_dir="build/cython", language_level=3),
)
