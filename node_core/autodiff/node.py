"""A traced value (Node), the trace it belongs to, and `apply`: the one door every operation goes through.

A Node stands for a NumPy array in the user's code. NumPy hands operations on it to us through its own
protocols (NEP 13 and NEP 18), so that ``np.tanh(y @ W + b)`` needs no wrapper module. What happens with an
operation is decided by the Node's trace: reverse mode records it on a tape, forward mode pushes a tangent
along, `nc.trace` writes it into a graph.

Traces nest. Each has a number larger than those started before it; an operation belongs to its operands'
latest trace, which unwraps its own Nodes and applies the same operation one level down. This is what keeps
d/dx and d/dy apart in ``grad(lambda x: x * grad(lambda y: x + y)(1.0))(1.0)``, where a single level would
answer 2 ("perturbation confusion", Siskind and Pearlmutter 2005).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from . import tree
from .advice import CUTS, absent_attribute, advice_on_objects, leaves_graph, no_rule
from .calls import UFUNC_DEFAULTS, call, numpy_name_of, says_nothing, what_instead

__all__ = ["Node", "Trace", "apply", "concrete", "depth", "lift", "recorded", "run"]

_levels = itertools.count(1)

# NumPy function or ufunc -> our function of the same signature; filled by `functions/`.
FUNCTIONS: dict[Any, Callable] = {}


class Trace:
    """What the kinds of trace share; `level` orders them, later ones being the inner ones.

    leading: how many axes its Nodes do not show, the first ones of their values.
    sees_changes: it writes a graph in which closed-over arrays are no constants; then it has `constant(x) -> Node`.
    """

    leading = 0
    sees_changes = False

    def __init__(self) -> None:
        self.level = next(_levels)
        self.open = True

    def process(self, primitive: Any, operands: tuple, params: dict) -> Any:
        """Carry out `primitive`, of whose operands at least one is a Node of this trace."""
        raise NotImplementedError

    def close(self) -> None:
        """No operation may join after this: a Node that escaped from its function is an error."""
        self.open = False

    def truth(self, node: Node) -> bool:
        """``bool(node)``; the value is known in eager mode, a graph trace refuses."""
        return bool(node.value)

    def text(self, node: Node, spec: str) -> str:
        """``format(node, spec)``; likewise."""
        return format(node.value, spec)

    def unwrap(self, operands: tuple) -> list:
        """The operands one level down: this trace's Nodes replaced by their values."""
        return [x.value if type(x) is Node and x.owner is self else x for x in operands]


def apply(primitive: Any, operands: tuple, params: dict) -> Any:
    """Carry out a primitive in the latest trace among the operands, or in plain NumPy if there is none."""
    trace = None
    for x in operands:
        if type(x) is Node and (trace is None or x.owner.level > trace.level):
            trace = x.owner
    if trace is None:
        return primitive.evaluate(*operands, **params)
    if not trace.open:
        raise TypeError(
            f"{primitive.name}: a traced value was used after its function had returned. It was kept in a "
            "global, an attribute or a list; return it instead, or keep nc.stop_gradient(value)"
        )
    return trace.process(primitive, operands, params)


def run(trace: Trace, fun: Callable, args: tuple) -> Any:
    """``fun(*args)`` with Nodes of `trace` among args, which is closed afterwards.

    What comes back as ``np.array([y[1], -y[0]])``, an object array of Nodes, is stacked while that can
    still be recorded. NumPy turns our refusal of ``out[i] = y[i]`` into a ValueError about sequences; the
    refusal itself is what the user should read. Nor does it say what to write instead of a function of such
    an object array.
    """
    try:
        out = fun(*args)
        if type(out) is Node:
            return out
        return tree.map(lambda x: lift(x) if isinstance(x, np.ndarray) else x, out)
    except ValueError as error:
        cause = error.__cause__
        if isinstance(cause, TypeError) and ("traced value" in str(cause) or "traced array" in str(cause)):
            raise type(cause)(str(cause)).with_traceback(error.__traceback__) from error
        raise
    except TypeError as error:
        advice = advice_on_objects(str(error))
        if advice is not None:
            raise TypeError(advice) from error
        raise
    finally:
        trace.close()


def concrete(x: Any) -> Any:
    """The plain array or scalar at the bottom of a Node."""
    while type(x) is Node:
        x = x.value
    return x


def depth(x: Any) -> int:
    """How many traces x is in: so many derivatives may be asked for."""
    levels = 0
    while type(x) is Node:
        x, levels = x.value, levels + 1
    return levels


def recorded(x: Any, like: Any) -> Any:
    """A plain x as a value of the graph in which `like` is one, if the graph sees its closed-over arrays change.

    A seed of a derivative that stayed plain would meet a closed-over W as NumPy's own arrays do, unseen: seed @ W would
    be a constant of the graph. Zeros stay plain: whatever is linear in them is zero.
    """
    while type(like) is Node:
        if like.owner.sees_changes and type(x) is not Node and np.any(x):
            return like.owner.constant(x)
        like = like.value
    return x


def lift(x: Any) -> Any:
    """An operand as `apply` wants it: Nodes, arrays and scalars as they are, lists made into arrays.

    An object array comes from ``np.array([y[1], -y[0]])``, which NumPy does not let us intercept: its 0-d
    Nodes are stacked into one Node. A function that NumPy applies to the object array itself never comes here:
    max, min, sort, maximum, clip and norm then go by Python's comparisons of the entries, where a tie is not
    shared but goes to one of them, and under `nc.trace` a comparison is a branch. np.stack has none of this.
    """
    if type(x) is Node or isinstance(x, (float, int, complex, np.generic)):
        return x
    if isinstance(x, np.ndarray):
        return _stack_objects(x) if x.dtype == object else x
    if isinstance(x, (list, tuple)):
        if any(type(leaf) is Node or isinstance(leaf, (list, tuple)) for leaf in x):
            return np.stack([lift(item) for item in x]) if x else np.asarray(x)
        return np.asarray(x)
    return x


def _stack_objects(x: np.ndarray) -> Any:
    if not any(type(item) is Node for item in x.flat):
        return x
    for item in x.flat:
        if np.shape(item) != ():
            raise TypeError(
                f"an object array holds a traced value of shape {np.shape(item)}; "
                "use np.stack or np.concatenate to join arrays"
            )
    return np.reshape(np.stack(list(x.flat)), x.shape)


class Node:
    """A value under a trace; behaves as the NumPy array it stands for.

    value: the array or scalar one level down (itself a Node when traces nest).
    owner: the trace it belongs to.
    slot:  what that trace keeps of it: its place on the tape, its tangent, or its number in the graph.
    """

    __slots__ = ("__weakref__", "owner", "slot", "value")
    __array_priority__ = 1000.0

    def __init__(self, value: Any, trace: Trace, slot: Any) -> None:
        self.value = value
        self.owner = trace
        self.slot = slot

    # --- NumPy's protocols ---

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        if method == "__call__" and not kwargs:
            function = FUNCTIONS.get(ufunc)
            if function is None:
                raise TypeError(no_rule(f"np.{ufunc.__name__}"))
            return function(*[lift(x) for x in inputs])
        if kwargs.get("out") is not None:
            raise TypeError(
                f"np.{ufunc.__name__}: the result would be written into a plain array, which {CUTS}. "
                "a += y on a plain array a is such a case: write a = a + y"
            )
        reduction = _REDUCTIONS.get((method, ufunc.__name__))
        if reduction is not None:
            return getattr(np, reduction)(*inputs, **{"axis": 0, **kwargs})
        if method != "__call__":
            raise TypeError(no_rule(f"np.{ufunc.__name__}.{method}"))
        for name, value in kwargs.items():
            if not says_nothing(value, UFUNC_DEFAULTS.get(name)):
                raise TypeError(f"np.{ufunc.__name__}: {name} is not supported on a traced value; {what_instead(name)}")
        return self.__array_ufunc__(ufunc, method, *inputs)

    def __array_function__(self, function: Any, types: Any, args: tuple, kwargs: dict) -> Any:
        ours = FUNCTIONS.get(function)
        if ours is None:
            raise TypeError(no_rule(numpy_name_of(function)))
        return call(function, ours, args, kwargs)

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
        if self.shape == () and dtype in (None, object):
            if np.iscomplexobj(self):
                raise TypeError(
                    "np.array([...]) of traced complex values is an object array, whose .real and .imag NumPy answers "
                    "wrongly without asking us; write np.stack([...])"
                )
            box = np.empty((), dtype=object)
            box[()] = self
            return box
        raise TypeError(f"turning a traced value of shape {self.shape} into a plain array {CUTS}")

    # --- what a plain array also tells of itself ---

    @property
    def shape(self) -> tuple:
        value, leading = self.value, self.owner.leading
        shape = value.shape if type(value) in (np.ndarray, Node) else np.shape(value)
        return shape[leading:] if leading else shape

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    @property
    def dtype(self) -> np.dtype:
        value = concrete(self)
        if type(value) is np.ndarray:
            return value.dtype
        return value.dtype if isinstance(value, (np.ndarray, np.generic)) else np.asarray(value).dtype

    def __len__(self) -> int:
        if self.shape == ():
            raise TypeError("len() of a 0-d value")
        return self.shape[0]

    def __iter__(self) -> Any:
        return (self[i] for i in range(len(self)))

    def __repr__(self) -> str:
        return f"Node({concrete(self)!r}, {type(self.owner).__name__} {self.owner.level})"

    def __format__(self, spec: str) -> str:
        return self.owner.text(self, spec)

    # --- copies: a value is never changed in place, so it is its own copy ---

    def __copy__(self) -> Node:
        return self

    def __deepcopy__(self, memo: dict) -> Node:
        return self

    def __reduce_ex__(self, protocol: Any) -> Any:
        raise TypeError(leaves_graph("pickling y", "y itself"))

    # --- conversions that would leave the graph ---

    def __bool__(self) -> bool:
        return self.owner.truth(self)

    def __float__(self) -> float:
        raise TypeError(
            leaves_graph(
                "float(y), math.sin(y) or out[i] = y[i] into a plain array",
                "y itself, np.sin(y), and np.stack([...]) for the whole of out or for np.array([...])",
            )
        )

    def __int__(self) -> int:
        raise TypeError(leaves_graph("int(y)", "np.floor(y), or an index that does not depend on the input"))

    def __complex__(self) -> complex:
        raise TypeError(leaves_graph("complex(y)", "y itself, or y + 0j"))

    def __index__(self) -> int:
        raise TypeError(leaves_graph("using y as an index", "np.take, or an index that is a plain int"))

    def item(self, *args: Any) -> Any:
        """Not available: the number would have no gradient."""
        raise TypeError(leaves_graph("y.item()", "y itself or y[i]"))

    def tolist(self) -> Any:
        """Not available: the numbers would have no gradient."""
        raise TypeError(leaves_graph("y.tolist()", "list(y)"))

    def __setitem__(self, index: Any, value: Any) -> None:
        raise TypeError(
            "y[i] = ... on a traced value: values are never changed in place. Build the result with "
            "np.stack, np.concatenate or np.where"
        )

    def __getattr__(self, name: str) -> Any:
        """Only for what is not there: AttributeError, so that hasattr and NumPy's own look-ups get their no."""
        if name.startswith("__"):
            raise AttributeError(name)
        raise AttributeError(absent_attribute(name))

    __hash__ = object.__hash__


tree._SURE_LEAVES.add(Node)

_REDUCTIONS = {
    ("reduce", "add"): "sum",
    ("reduce", "multiply"): "prod",
    ("reduce", "maximum"): "max",
    ("reduce", "minimum"): "min",
    ("accumulate", "add"): "cumsum",
}
