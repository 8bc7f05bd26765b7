"""Labelled images to classify: MNIST from its IDX files, or the 8 by 8 digits that scikit-learn brings along."""

from __future__ import annotations

import gzip
import hashlib
import math
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["Images", "digits", "mnist", "read_idx"]

# The third byte of an IDX file names the type of its numbers, which are big-endian.
DTYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
HELD_OUT = 497  # of the 1797 digits


@dataclass(frozen=True)
class Images:
    """x (n, 1, H, W) float32 from 0 to 1 and labels (n,) of ints, to learn from and to test on."""

    name: str
    x: np.ndarray
    labels: np.ndarray
    test_x: np.ndarray
    test_labels: np.ndarray

    def validation(self, share: float, seed: int = 0) -> Images:
        """The images to learn from alone, a share of them, drawn by the seed, to test on: to choose settings by.

        >>> from node_core.models import Images
        >>> import numpy as np
        >>> few = Images("few", np.zeros((10, 1, 2, 2)), np.arange(10), np.zeros((5, 1, 2, 2)), np.arange(5))
        >>> part = few.validation(0.3)
        >>> len(part.x), len(part.test_x), sorted([*part.labels, *part.test_labels]) == list(range(10))
        (7, 3, True)
        """
        order = np.random.default_rng(seed).permutation(len(self.x))
        held = round(share * len(order)) if 0 < share < 1 else 0
        if not 0 < held < len(order):
            raise ValueError(f"Images: share must leave images on both sides, got {share} of {len(order)}")
        rest, part = order[held:], order[:held]
        return Images(self.name, self.x[rest], self.labels[rest], self.x[part], self.labels[part])

    def digest(self) -> str:
        """SHA-256 of all images and labels, with their shapes, in hexadecimal: equal for equal data alone."""
        found = hashlib.sha256()
        for array in (self.x, self.labels, self.test_x, self.test_labels):
            found.update(f"{array.dtype.str}{array.shape}".encode())
            found.update(np.ascontiguousarray(array).tobytes())
        return found.hexdigest()


def read_idx(path: Any) -> np.ndarray:
    """The array in an IDX file, gzipped or not, in the machine's byte order.

    The file: two zero bytes, the type of the numbers, how many dimensions, each of them as a 32-bit int, the numbers
    (LeCun, "The MNIST database"). ValueError, which names the file, what came and what was wanted, where the magic
    number or the type is another, or the file is longer or shorter than its dimensions say.
    """
    path = Path(path)
    found = _bytes(path)
    if len(found) < 4 or found[:2] != b"\0\0":
        raise ValueError(f"{path}: an IDX file begins with two zero bytes, a type and a number of dimensions, got "
                         f"{found[:4].hex(' ') or 'nothing'}")  # fmt: skip
    if found[2] not in DTYPES:
        known = ", ".join(f"0x{code:02x}" for code in DTYPES)
        raise ValueError(f"{path}: the type of the numbers must be one of {known}, got 0x{found[2]:02x}")
    dtype, ndim = np.dtype(DTYPES[found[2]]), found[3]
    start = 4 + 4 * ndim
    if ndim == 0 or len(found) < start:
        raise ValueError(f"{path}: wanted {max(ndim, 1)} dimensions of 4 bytes each after the magic number, got "
                         f"{len(found) - 4} bytes")  # fmt: skip
    shape = tuple(int(n) for n in np.frombuffer(found, ">u4", ndim, 4))
    wanted, got = math.prod(shape) * dtype.itemsize, len(found) - start
    if got != wanted:
        how = "truncated" if got < wanted else "too long"
        raise ValueError(f"{path} is {how}: {shape} of {dtype.itemsize} bytes each are {wanted} bytes, got {got}")
    return np.frombuffer(found, dtype, offset=start).reshape(shape).astype(dtype.newbyteorder("="))


def _bytes(path: Path) -> bytes:
    """The content, unpacked if it begins as gzip does, whatever the file is called."""
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder; wanted an IDX file")
    found = path.read_bytes()
    if found[:2] != b"\x1f\x8b":
        return found
    try:
        return gzip.decompress(found)
    except (EOFError, OSError, zlib.error) as error:
        raise ValueError(f"{path} is truncated or damaged: wanted a whole gzip file, got {error}") from None


def mnist(folder: Any) -> Images:
    """MNIST from a folder of its four files ({train,t10k}-{images-idx3,labels-idx1}-ubyte, with or without .gz).

    FileNotFoundError for a file that is missing; ValueError for one that does not hold what its name says, and where
    images and labels are not equally many.
    """
    (x, labels), (test_x, test_labels) = (_pair(Path(folder), part) for part in ("train", "t10k"))
    if x.shape[1:] != test_x.shape[1:]:
        raise ValueError(f"{folder}: images to test on must be {x.shape[1:]} as those to learn from, "
                         f"got {test_x.shape[1:]}")  # fmt: skip
    return Images("MNIST", x, labels, test_x, test_labels)


def _pair(folder: Path, part: str) -> tuple[np.ndarray, np.ndarray]:
    """Images (n, 1, H, W) and labels (n,)."""
    images_path, labels_path = (_found(folder, f"{part}-{kind}-ubyte") for kind in ("images-idx3", "labels-idx1"))
    images, labels = read_idx(images_path), read_idx(labels_path)
    for path, array, ndim in ((images_path, images, 3), (labels_path, labels, 1)):
        if array.dtype != np.uint8 or array.ndim != ndim or array.size == 0:
            raise ValueError(f"{path}: wanted unsigned bytes, at least one, in {ndim} dimensions (magic number "
                             f"{0x0800 + ndim}), got {array.dtype} of shape {array.shape}")  # fmt: skip
    if len(images) != len(labels):
        raise ValueError(f"{labels_path}: wanted {len(images)} labels, one for each image of {images_path.name}, "
                         f"got {len(labels)}")  # fmt: skip
    if labels.max() > 9:
        raise ValueError(f"{labels_path}: labels must be from 0 to 9, got {labels.max()}")
    return images[:, None].astype(np.float32) / 255, labels.astype(np.int64)


def _found(folder: Path, name: str) -> Path:
    """The file, with a dot before idx or with .gz as some copies have it."""
    names = [found + end for found in (name, name.replace("-idx", ".idx")) for end in ("", ".gz")]
    for candidate in names:
        if (folder / candidate).is_file():
            return folder / candidate
    raise FileNotFoundError(f"{folder} must hold the IDX file {name} or {name}.gz of MNIST; there is none")


def digits(seed: int = 0) -> Images:
    """The 1797 digits of scikit-learn, 8 by 8: 1300 to learn from and 497 to test on, shuffled by the seed.

    RuntimeError if scikit-learn is not installed.
    """
    try:
        from sklearn.datasets import load_digits
    except ImportError:
        raise RuntimeError('the 8 by 8 digits are those of scikit-learn, which is not installed '
                           '(pip install "node-core[digits]")') from None  # fmt: skip
    found = load_digits()
    order = np.random.default_rng(seed).permutation(len(found.target))
    x = (found.images[order, None] / 16).astype(np.float32)  # (1797, 1, 8, 8)
    labels = found.target[order].astype(np.int64)
    n = len(x) - HELD_OUT
    return Images("digits", x[:n], labels[:n], x[n:], labels[n:])
