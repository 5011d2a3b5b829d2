"""Pairs of records with equal keys, and the connected components that pairs form."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import numpy.typing as npt

from knee.storage.arrays import Integers

Pair = tuple[int, int]


def equal_pairs(keys: Sequence[str]) -> Iterator[Pair]:
    """Yield the first and each later index of the same key; "" equals nothing."""
    first: dict[str, int] = {}
    for index, key in enumerate(keys):
        if key and first.setdefault(key, index) != index:
            yield first[key], index


def components(count: int, pairs: Iterable[Pair]) -> Integers:
    """Return connected components of `count` nodes, int64 (count,), numbered by first nodes."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    edges = np.array(list(pairs), np.int64).reshape(-1, 2)
    graph = coo_array((np.ones(len(edges), bool), (edges[:, 0], edges[:, 1])), (count, count))
    return by_first(connected_components(graph, directed=False)[1])


class GrowingComponents:
    """Connected components of a graph that grows: union-find, of the connected nodes alone."""

    def __init__(self) -> None:
        """Begin without any edge."""
        from scipy.cluster.hierarchy import DisjointSet

        self._sets = DisjointSet()

    def connected(self, pairs: Integers) -> npt.NDArray[np.bool_]:
        """Return bool (n,): which of the `pairs` (n, 2) are connected, directly or not."""
        sets = self._sets
        return np.array(
            [
                one == two or (one in sets and two in sets and sets.connected(one, two))
                for one, two in pairs.tolist()
            ],
            np.bool_,
        )

    def connect(self, pairs: Integers) -> None:
        """Add the edges `pairs` (n, 2)."""
        for one, two in pairs.tolist():
            self._sets.add(one)
            self._sets.add(two)
            self._sets.merge(one, two)


def by_first(numbers: Integers) -> Integers:
    """Return the same classes, int64 (n,), numbered from 0 in the order of their first members."""
    _, first, position = np.unique(numbers, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[position].astype(np.int64)
