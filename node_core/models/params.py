"""Whether parameters are those of a model: told where they are given, not by what fails inside."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..autodiff import tree

__all__ = ["described", "like_init"]


def like_init(owner: str, model: Any, params: Any) -> Any:
    """params; ValueError unless they are nested and shaped like those that ``model.init`` makes.

    A model whose parts have no init of their own (``model.init`` is None or raises TypeError) takes what it is given.
    """
    try:
        wanted = model.__dict__["_described"]
    except KeyError:
        wanted = model.__dict__["_described"] = _wanted(model)
    got = described(params)
    if wanted is not None and wanted != got:
        if hasattr(params, "params") and described(params.params) == wanted:
            raise ValueError(f"{owner}: params are a {type(params).__name__}; give its .params")
        told = [", ".join(each) or "nothing else" for each in (sorted(wanted - got)[:3], sorted(got - wanted)[:3])]
        raise ValueError(f"{owner}: params are not those of {model!r}: wanted {told[0]}, got {told[1]}; see its init")
    return params


def _wanted(model: Any) -> frozenset[str] | None:
    """What fresh parameters are like; None if the model cannot make them."""
    try:
        return described(model.init(0))
    except TypeError:
        return None


def described(params: Any) -> frozenset[str]:
    """The path and the shape of every leaf, traced or not."""
    leaves = zip(tree.paths(params), tree.flatten(params)[0], strict=True)
    return frozenset(f"{path} {np.shape(leaf)}" for path, leaf in leaves)
