"""Merkle trees: the published vectors, and whatever a path may be bent into."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mallku_contracts.trail.merkle import (
    EMPTY_ROOT,
    RunningRoot,
    inclusion_path,
    leaf_hash,
    node_hash,
    proves,
    root_of,
)

ENTRIES = (
    "",
    "00",
    "10",
    "2021",
    "3031",
    "40414243",
    "5051525354555657",
    "606162636465666768696a6b6c6d6e6f",
)
"""The entries of Certificate Transparency's own test tree, hexadecimal."""

ROOTS = (
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
)
"""Its root with 0 to 8 of them."""

PATH_OF_THE_FIRST = (
    "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
    "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
    "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
)
"""Its path from the first entry of 8."""

LEAVES = [leaf_hash(bytes.fromhex(entry)) for entry in ENTRIES]

hashes = st.binary(min_size=32, max_size=32)
trees = st.lists(hashes, min_size=1, max_size=70)


@pytest.mark.parametrize("size", range(len(ROOTS)))
def test_roots_are_those_of_certificate_transparency(size: int) -> None:
    """A tree of each size has the root that every other implementation gives it."""
    assert root_of(LEAVES[:size]).hex() == ROOTS[size]


def test_a_path_is_that_of_certificate_transparency() -> None:
    """The hashes of a path stand in the order of RFC 6962, lowest first."""
    assert tuple(step.hex() for step in inclusion_path(LEAVES, 0)) == PATH_OF_THE_FIRST


def test_the_example_of_the_standard() -> None:
    """RFC 6962, 2.1.3: with seven leaves the path of d3 is [c, g, l]."""
    nodes = [node_hash(LEAVES[at], LEAVES[at + 1]) for at in (0, 2, 4)]
    g, h, i = nodes
    k, el = node_hash(g, h), node_hash(i, LEAVES[6])
    assert inclusion_path(LEAVES[:7], 3) == [LEAVES[2], g, el]
    assert inclusion_path(LEAVES[:7], 6) == [i, k]
    assert root_of(LEAVES[:7]) == node_hash(k, el)


@given(trees, st.data())
def test_every_path_proves_its_leaf_alone(leaves: list[bytes], data: st.DataObject) -> None:
    """A path leads from its own leaf at its own place to the root; nothing else of it does."""
    index = data.draw(st.integers(0, len(leaves) - 1))
    root, path = root_of(leaves), inclusion_path(leaves, index)
    assert proves(leaves[index], index, len(leaves), path, root)
    other = data.draw(hashes.filter(lambda leaf: leaf != leaves[index]))
    assert not proves(other, index, len(leaves), path, root)
    assert not proves(leaves[index], index, len(leaves), [*path, other], root)
    assert not proves(leaves[index], index, len(leaves), path, other)
    if path:
        assert not proves(leaves[index], index, len(leaves), path[:-1], root)
        at = data.draw(st.integers(0, len(path) - 1))
        bent = [*path[:at], bytes(byte ^ 1 for byte in path[at]), *path[at + 1 :]]
        assert not proves(leaves[index], index, len(leaves), bent, root)


@given(st.lists(hashes, min_size=2, max_size=40, unique=True), st.data())
def test_a_path_proves_no_other_place(leaves: list[bytes], data: st.DataObject) -> None:
    """A leaf is not proven at the index of another."""
    index = data.draw(st.integers(0, len(leaves) - 1))
    other = data.draw(st.integers(0, len(leaves) - 1).filter(lambda at: at != index))
    path, root = inclusion_path(leaves, index), root_of(leaves)
    assert not proves(leaves[index], other, len(leaves), path, root)


@given(trees)
def test_a_node_is_no_leaf(leaves: list[bytes]) -> None:
    """Leaves and nodes are hashed apart, so that a tree cannot be told as a smaller one."""
    if len(leaves) > 1:
        assert root_of(leaves) != leaf_hash(leaves[0] + leaves[1])
        assert root_of([root_of(leaves)]) == root_of(leaves)
        assert leaf_hash(root_of(leaves)) != root_of(leaves)


@given(trees)
def test_the_running_root_is_the_root_at_every_size(leaves: list[bytes]) -> None:
    """What is kept between two leaves is enough for the root, and little: log2 of the leaves."""
    running = RunningRoot()
    for size, leaf in enumerate(leaves, 1):
        running.append(leaf)
        assert (running.size, running.root()) == (size, _recursive(leaves[:size]))


def _recursive(leaves: list[bytes]) -> bytes:
    """The root as RFC 6962 writes it down."""
    if len(leaves) == 1:
        return leaves[0]
    middle = 1
    while middle * 2 < len(leaves):
        middle *= 2
    return node_hash(_recursive(leaves[:middle]), _recursive(leaves[middle:]))


@pytest.mark.parametrize("place", [(0, 0), (1, 1), (-1, 1), (2, 1)])
def test_there_is_no_leaf_outside(place: tuple[int, int]) -> None:
    """Neither a path nor a proof exists where no leaf is."""
    index, size = place
    assert not proves(EMPTY_ROOT, index, size, [], EMPTY_ROOT)
    with pytest.raises(IndexError):
        inclusion_path([EMPTY_ROOT] * size, index)


@pytest.mark.parametrize("odd", [b"", bytes(31), bytes(33)])
def test_hashes_have_their_size(odd: bytes) -> None:
    """What is not 32 bytes proves nothing, wherever it stands."""
    leaf = LEAVES[0]
    assert not proves(odd, 0, 1, [], odd)
    assert not proves(leaf, 0, 2, [odd], node_hash(leaf, odd))
