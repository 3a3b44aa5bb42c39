"""Merkle trees as Certificate Transparency has them: roots, and paths that prove one leaf.

RFC 6962, section 2.1 (the same in RFC 9162): SHA-256 over `0x00 ‖ entry` for a leaf and over
`0x01 ‖ left ‖ right` for a node; the left subtree has the largest power of two that is smaller than
the number of leaves. Every function takes leaves that are hashed already.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from hashlib import sha256
from typing import Final

HASH_BYTES: Final = 32

MAX_PATH_HASHES: Final = 64
"""Hashes in an inclusion path; more leaves than 2^64 are never under one root."""

EMPTY_ROOT: Final = sha256(b"").digest()
"""The root over no leaf at all."""

_LEAF: Final = b"\x00"
_NODE: Final = b"\x01"


def leaf_hash(entry: bytes) -> bytes:
    """The leaf that stands for `entry`."""
    return sha256(_LEAF + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """The node above two others."""
    return sha256(_NODE + left + right).digest()


class RunningRoot:
    """A tree that only grows: appending costs one node on average, and it keeps log2 of the leaves.

    What is kept are the roots of the complete subtrees from left to right, each smaller than the
    one before it (a "compact range").
    """

    __slots__ = ("_peaks", "size")

    def __init__(self) -> None:
        self.size = 0
        self._peaks: list[bytes] = []

    def append(self, leaf: bytes) -> None:
        """Put one more leaf at the right end."""
        peaks, complete = self._peaks, self.size
        while complete & 1:
            leaf = sha256(_NODE + peaks.pop() + leaf).digest()
            complete >>= 1
        peaks.append(leaf)
        self.size += 1

    def root(self) -> bytes:
        """The root over all leaves so far."""
        if not self._peaks:
            return EMPTY_ROOT
        root = self._peaks[-1]
        for peak in reversed(self._peaks[:-1]):
            root = node_hash(peak, root)
        return root


def root_of(leaves: Iterable[bytes]) -> bytes:
    """The root over leaves in this order."""
    tree = RunningRoot()
    for leaf in leaves:
        tree.append(leaf)
    return tree.root()


def inclusion_path(leaves: Sequence[bytes], index: int) -> list[bytes]:
    """The hashes that lead from the leaf at `index` to the root, lowest first (2.1.1).

    Raises:
        IndexError: there is no such leaf.
    """
    if not 0 <= index < len(leaves):
        raise IndexError(f"there is no leaf {index} among {len(leaves)}")
    path: list[bytes] = []
    while len(leaves) > 1:
        middle = 1 << (len(leaves) - 1).bit_length() - 1
        if index < middle:
            path.append(root_of(leaves[middle:]))
            leaves = leaves[:middle]
        else:
            path.append(root_of(leaves[:middle]))
            leaves, index = leaves[middle:], index - middle
    path.reverse()
    return path


def proves(leaf: bytes, index: int, size: int, path: Sequence[bytes], root: bytes) -> bool:
    """Whether `path` leads from `leaf`, the one at `index` of `size`, to `root`.

    RFC 9162, section 2.1.3.2. False as well for a path of another length than this place has, and
    for hashes of another size.
    """
    if not 0 <= index < size or any(len(step) != HASH_BYTES for step in (leaf, root, *path)):
        return False
    last = size - 1
    for step in path:
        if not last:
            return False
        if index & 1 or index == last:
            leaf = node_hash(step, leaf)
            while index and not index & 1:
                index, last = index >> 1, last >> 1
        else:
            leaf = node_hash(leaf, step)
        index, last = index >> 1, last >> 1
    return not last and leaf == root
