"""save and load: a tree in one .npz file, without pickle, written aside and renamed.

json, tempfile and zipfile are imported where they are used: they would be a tenth of importing node_core.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from .autodiff import tree

__all__ = ["load", "save", "write_aside"]

FORMAT = "node_core tree 1"


def write_aside(path: str | os.PathLike, write: Any) -> None:
    """Call ``write(temporary_path)`` in the folder of `path` and rename the file only when it is whole."""
    import tempfile

    path = Path(path)
    if not path.parent.is_dir():
        raise FileNotFoundError(f"the folder {path.parent} of {path.name} does not exist")
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", suffix=path.suffix, dir=path.parent)
    os.close(handle)
    try:
        write(temporary)
        mask = os.umask(0)
        os.umask(mask)
        os.chmod(temporary, 0o666 & ~mask)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def save(path: str | os.PathLike, tree_: Any) -> None:
    """Write a tree of arrays, numbers, strings and None to `path` (.npz is added if it has no suffix).

    The nesting is kept as JSON beside the arrays; namedtuples and dataclasses are kept as dicts. An existing
    file is replaced only when the new one is whole. Raises TypeError for other leaves.
    """
    import json

    path = _with_suffix(path)
    arrays: dict[str, np.ndarray] = {}
    structure = json.dumps({"format": FORMAT, "tree": _describe(tree_, arrays, "")})

    def write(temporary: str) -> None:
        with open(temporary, "wb") as file:
            np.savez(file, __tree__=np.array(structure), **arrays)

    write_aside(path, write)


def _with_suffix(path: str | os.PathLike) -> Path:
    path = Path(path)
    return path if path.suffix else path.with_suffix(".npz")


def _describe(node: Any, arrays: dict[str, np.ndarray], path: str) -> Any:
    """The JSON form of a tree, which stands at `path`; arrays go into `arrays` under their number."""
    split = tree._children(node)
    if split is not None:
        kind, keys, children = split
        named = zip(keys or range(len(children)), children, strict=True)
        inner = [_describe(child, arrays, f"{path}[{key!r}]") for key, child in named]
        if keys or issubclass(kind, dict):
            if not all(isinstance(key, str) for key in keys):
                raise TypeError(f"save: dict keys must be strings, got {keys}")
            return {"dict": dict(zip(keys, inner, strict=True))}
        return {"list" if kind is list else "tuple": inner}
    if node is None or isinstance(node, (bool, int, float, str)):
        return {"value": node.item() if isinstance(node, np.generic) else node}
    array = np.asarray(node)
    if array.dtype.kind not in "biufcU":
        got = f"an array of {array.dtype}" if isinstance(node, (np.ndarray, np.generic)) else type(node).__name__
        raise TypeError(
            f"save: a leaf must be an array of numbers or strings, a number, a string or None, got {got}"
            f"{f' at {path}' if path else ''}"
        )
    arrays[f"a{len(arrays)}"] = array
    return {"array": len(arrays) - 1}


def load(path: str | os.PathLike, like: Any = None) -> Any:
    """The tree that `save` wrote; with `like`, in its nesting (so that namedtuples and dataclasses return).

    Raises FileNotFoundError, or ValueError if the file is truncated or was not written by `save`.
    """
    import zipfile

    path = _with_suffix(path)
    try:
        # Opened and looked at here: np.load leaves a broken file open, and advises allow_pickle=True.
        with open(path, "rb") as raw:
            if not zipfile.is_zipfile(raw):
                raise zipfile.BadZipFile("no zip archive")
            raw.seek(0)
            with np.load(raw, allow_pickle=False) as file:
                loaded = _read(file, path)
    except (FileNotFoundError, IsADirectoryError, PermissionError):
        raise
    except (zipfile.BadZipFile, EOFError, OSError, KeyError, AttributeError, TypeError) as error:
        raise ValueError(f"{path} is truncated or not a node_core file: {error}") from error
    except ValueError as error:
        if str(path) in str(error):
            raise
        raise ValueError(f"{path} is truncated or not a node_core file: {error}") from error
    if like is None:
        return loaded
    treedef = tree.flatten(like)[1]
    try:
        leaves = tree._leaves_like(tree.flatten(_as_plain(like))[1], loaded)
    except ValueError:
        raise ValueError(
            f"{path} holds another structure than `like`: {tree.flatten(loaded)[1]}, not {treedef}"
        ) from None
    return tree.unflatten(treedef, leaves)


def _read(file: Any, path: Path) -> Any:
    """The tree in an open .npz file."""
    import json

    if "__tree__" not in file.files:
        raise ValueError(f"{path} was not written by node_core's save: it holds {file.files[:5]}")
    content = json.loads(str(file["__tree__"]))
    if content.get("format") != FORMAT:
        raise ValueError(f"{path} is of another format, {content.get('format')!r}, not {FORMAT!r}")
    return _rebuild(content["tree"], file)


def _as_plain(node: Any) -> Any:
    """The tree with namedtuples and dataclasses as dicts, as `save` keeps them."""
    split = tree._children(node)
    if split is None:
        return node
    kind, keys, children = split
    inner = [_as_plain(child) for child in children]
    return dict(zip(keys, inner, strict=True)) if keys or issubclass(kind, dict) else kind(inner)


def _rebuild(node: dict, file: Any) -> Any:
    ((kind, content),) = node.items()
    if kind == "dict":
        return {key: _rebuild(child, file) for key, child in content.items()}
    if kind in ("list", "tuple"):
        children = [_rebuild(child, file) for child in content]
        return children if kind == "list" else tuple(children)
    if kind == "value":
        return content
    return file[f"a{content}"]
