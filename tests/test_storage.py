"""save and load: round trips, files that are broken or foreign, saving that fails."""

import dataclasses
import os
import pickle
import stat
from collections import namedtuple

import numpy as np
import pytest

import node_core as nc
from node_core.storage import write_aside

Pair = namedtuple("Pair", "a b")


@dataclasses.dataclass
class Model:
    W: np.ndarray
    sizes: tuple
    name: str


class Trap:
    """Unpickling this would raise AssertionError."""

    def __reduce__(self):
        return (pytest.fail, ("a pickle was loaded",))


def same(a, b):
    """Equal values of equal types and dtypes."""
    if isinstance(a, np.ndarray):
        return (
            type(b) is np.ndarray
            and a.dtype == b.dtype
            and a.shape == b.shape
            and np.array_equal(a, b, a.dtype.kind == "f")
        )
    return type(a) is type(b) and a == b


# --- round trips ---


@pytest.mark.parametrize(
    "leaf",
    [
        np.arange(6.0).reshape(2, 3), np.float32([1, np.nan, np.inf]), np.array(3.5), np.zeros((0, 3)),
        np.array([1 + 2j]), np.arange(3, dtype=np.int8), np.array([True, False]), np.array(["a", "μ"]),
        np.arange(8.0)[::2], np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        None, True, False, 7, -(2**70), 0.1, float("inf"), "", "text with \"quotes\" and μ\n",
    ],
)  # fmt: skip
def test_leaf_comes_back_as_it_was(tmp_path, leaf):
    nc.save(tmp_path / "x.npz", leaf)
    assert same(nc.load(tmp_path / "x.npz"), leaf)


def test_numpy_numbers_come_back_as_numbers_or_zero_d_arrays(tmp_path):
    nc.save(tmp_path / "x.npz", [np.float64(0.1), np.float32(0.5), np.int64(3), np.bool_(True), 1 + 2j])
    back = nc.load(tmp_path / "x.npz")
    assert same(back[0], 0.1)
    for got, wanted in zip(
        back[1:], [np.float32(0.5), np.int64(3), np.bool_(True), np.complex128(1 + 2j)], strict=True
    ):
        assert same(got, np.array(wanted))


def test_nesting_comes_back_with_namedtuples_and_dataclasses_as_dicts(tmp_path):
    tree = {"list": [1, (2.0, None)], "pair": Pair(np.ones(2), {}), "model": Model(np.eye(2), (2, 3), "mlp"), "e": []}
    nc.save(tmp_path / "m.npz", tree)
    back = nc.load(tmp_path / "m.npz")
    assert list(back) == ["list", "pair", "model", "e"]
    assert back["list"] == [1, (2.0, None)]
    assert back["e"] == []
    assert (list(back["pair"]), back["pair"]["b"]) == (["a", "b"], {})
    assert (back["model"]["sizes"], back["model"]["name"]) == ((2, 3), "mlp")
    np.testing.assert_array_equal(back["model"]["W"], np.eye(2))


def test_like_gives_namedtuples_and_dataclasses_back_and_matches_dicts_by_key(tmp_path):
    nc.save(tmp_path / "m.npz", {"pair": Pair(1.0, [2.0]), "model": Model(np.ones(2), (5,), "mlp")})
    like = {"model": Model(np.zeros(2), (0,), ""), "pair": Pair(0.0, [0.0])}
    back = nc.load(tmp_path / "m.npz", like=like)
    assert list(back) == ["model", "pair"]
    assert back["pair"] == Pair(1.0, [2.0])
    assert type(back["pair"]) is Pair
    assert type(back["model"]) is Model
    assert (back["model"].sizes, back["model"].name) == ((5,), "mlp")


@pytest.mark.parametrize("like", [{"a": 1, "c": 2}, {"a": 1}, [1, 2], {"a": 1, "b": [2]}, 1.0])
def test_like_of_another_structure_is_an_error_with_both(tmp_path, like):
    nc.save(tmp_path / "m.npz", {"a": 1, "b": 2})
    with pytest.raises(ValueError, match=r"m.npz holds another structure than `like`: \{'a': \*, 'b': \*\}, not "):
        nc.load(tmp_path / "m.npz", like=like)


def test_suffix_npz_is_added_to_a_name_without_one(tmp_path):
    nc.save(tmp_path / "model", [1.0])
    assert os.listdir(tmp_path) == ["model.npz"]
    assert nc.load(str(tmp_path / "model")) == [1.0]
    nc.save(tmp_path / "model.bin", [2.0])
    assert nc.load(tmp_path / "model.bin") == [2.0]


# --- files that are broken or foreign ---


def test_truncated_file_is_an_error_wherever_it_was_cut(tmp_path):
    path = tmp_path / "m.npz"
    nc.save(path, {"W": np.arange(100.0)})
    whole = path.read_bytes()
    for length in (0, 1, 4, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(ValueError, match=r"m.npz is truncated or not a node_core file"):
            nc.load(path)


def test_damaged_file_is_an_error(tmp_path):
    path = tmp_path / "m.npz"
    nc.save(path, {"W": np.full(100, 7.0)})
    damaged = path.read_bytes().replace(np.float64(7.0).tobytes(), np.float64(8.0).tobytes(), 1)
    path.write_bytes(damaged)
    with pytest.raises(ValueError, match=r"m.npz is truncated or not a node_core file: Bad CRC"):
        nc.load(path)


def test_foreign_npz_says_what_it_holds(tmp_path):
    np.savez(tmp_path / "theirs.npz", weights=np.ones(2))
    with pytest.raises(ValueError, match=r"theirs.npz was not written by node_core's save: it holds \['weights'\]"):
        nc.load(tmp_path / "theirs.npz")


def test_file_of_a_later_format_says_so(tmp_path):
    np.savez(tmp_path / "m.npz", __tree__=np.array('{"format": "node_core tree 2"}'))
    with pytest.raises(ValueError, match="of another format, 'node_core tree 2', not 'node_core tree 1'"):
        nc.load(tmp_path / "m.npz")


@pytest.mark.parametrize(
    "structure",
    ["[1]", "not JSON", '{"format": "node_core tree 1"}', '{"format": "node_core tree 1", "tree": 5}',
     '{"format": "node_core tree 1", "tree": {"array": 3}}', '{"format": "node_core tree 1", "tree": {"dict": 3}}'],
)  # fmt: skip
def test_file_with_a_senseless_structure_is_an_error(tmp_path, structure):
    np.savez(tmp_path / "m.npz", __tree__=np.array(structure))
    with pytest.raises(ValueError, match=r"m.npz is truncated or not a node_core file"):
        nc.load(tmp_path / "m.npz")


def test_text_file_npy_file_and_bare_pickle_are_refused_without_advising_pickle(tmp_path):
    path = tmp_path / "m.npz"
    with open(path, "wb") as file:
        np.save(file, np.ones(2))
    for content in (b"year,hare,lynx\n1900,30,4\n", path.read_bytes(), pickle.dumps(Trap())):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"m.npz is truncated or not a node_core file") as error:
            nc.load(path)
        assert "allow_pickle" not in str(error.value)


@pytest.mark.parametrize("name", ["__tree__", "a0"])
def test_pickle_inside_an_npz_is_refused(tmp_path, name):
    content = {"__tree__": np.array('{"format": "node_core tree 1", "tree": {"array": 0}}'), "a0": np.ones(2)}
    content[name] = np.array([Trap()], dtype=object)
    np.savez(tmp_path / "m.npz", **content)
    with pytest.raises(ValueError, match=r"m.npz is truncated or not a node_core file: Object arrays cannot be loaded"):
        nc.load(tmp_path / "m.npz")


def test_missing_file_and_folder_keep_their_own_errors(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nothing.npz"):
        nc.load(tmp_path / "nothing.npz")
    (tmp_path / "folder.npz").mkdir()
    with pytest.raises(IsADirectoryError, match=r"folder.npz"):
        nc.load(tmp_path / "folder.npz")
    with pytest.raises(FileNotFoundError, match="nowhere"):
        nc.save(tmp_path / "nowhere" / "m.npz", [1.0])


# --- saving that fails, and how files appear ---


@pytest.mark.parametrize(
    ("tree", "message"),
    [
        ({"a": [1.0, object()]}, r"a leaf must be an array of numbers or strings, .*, got object at \['a'\]\[1\]$"),
        ([b"bytes"], r"save: a leaf must be .* got bytes at \[0\]"),
        (np.array([None]), "save: a leaf must be .* got an array of object$"),
        (
            {"t": np.array(["2026-01-01"], "M8[D]")},
            r"save: a leaf must be .* got an array of datetime64\[D\] at \['t'\]",
        ),
        ({1: 2.0}, r"save: dict keys must be strings, got \(1,\)"),
    ],
)
def test_what_cannot_be_saved_is_named_and_leaves_the_old_file(tmp_path, tree, message):
    nc.save(tmp_path / "m.npz", {"good": 1.0})
    with pytest.raises(TypeError, match=message):
        nc.save(tmp_path / "m.npz", tree)
    assert os.listdir(tmp_path) == ["m.npz"]
    assert nc.load(tmp_path / "m.npz") == {"good": 1.0}


def test_saving_that_fails_half_way_leaves_the_old_file_and_no_temporary_one(tmp_path, monkeypatch):
    path = tmp_path / "m.npz"
    nc.save(path, {"good": 1.0})

    def disk_full(file, **arrays):
        file.write(b"PK half of it")
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(np, "savez", disk_full)
        with pytest.raises(OSError, match="No space left on device"):
            nc.save(path, {"good": 2.0})
    assert os.listdir(tmp_path) == ["m.npz"]
    assert nc.load(path) == {"good": 1.0}


def test_renaming_that_fails_or_is_interrupted_leaves_no_temporary_file(tmp_path, monkeypatch):
    def interrupted(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_aside(tmp_path / "m.txt", lambda name: None)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_saved_file_has_the_mode_the_umask_asks_for(tmp_path, mask, mode):
    before = os.umask(mask)
    try:
        nc.save(tmp_path / "m.npz", [1.0])
        after = os.umask(mask)
    finally:
        os.umask(before)
    assert after == mask
    assert stat.S_IMODE(os.stat(tmp_path / "m.npz").st_mode) == mode
