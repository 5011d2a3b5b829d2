"""Connected components: exactly what hangs together, numbered the same whatever the order."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from knee.records.components import GrowingComponents, Pair, by_first, components, equal_pairs

edges = st.lists(st.tuples(st.integers(0, 19), st.integers(0, 19)), max_size=30)


@given(edges)
def test_components_join_exactly_what_is_connected(pairs: list[Pair]) -> None:
    numbers = components(20, pairs)
    reach = np.eye(20, dtype=bool)
    for one, two in pairs:
        reach[one, two] = reach[two, one] = True
    for middle in range(20):
        reach |= np.outer(reach[:, middle], reach[middle])
    np.testing.assert_array_equal(numbers[:, None] == numbers[None, :], reach)


@given(st.lists(edges, max_size=4), edges)
def test_growing_components_are_those_of_all_pairs_so_far(
    rounds: list[list[Pair]], asked: list[Pair]
) -> None:
    growing, so_far = GrowingComponents(), list[Pair]()
    questions = np.array(asked, np.int64).reshape(-1, 2)
    for pairs in rounds:
        growing.connect(np.array(pairs, np.int64).reshape(-1, 2))
        so_far += pairs
        groups = components(20, so_far)[questions]
        np.testing.assert_array_equal(growing.connected(questions), groups[:, 0] == groups[:, 1])


@given(edges, st.permutations(range(30)))
def test_components_are_numbered_by_first_node_whatever_the_order_of_pairs(
    pairs: list[Pair], order: list[int]
) -> None:
    numbers = components(20, pairs)
    _, first = np.unique(numbers, return_index=True)
    assert sorted(first) == first.tolist()
    assert set(numbers.tolist()) == set(range(len(first)))
    shuffled = [pairs[index][::-1] for index in order if index < len(pairs)]
    np.testing.assert_array_equal(components(20, shuffled), numbers)


def test_classes_are_renumbered_by_their_first_members() -> None:
    assert by_first(np.array([7, 2, 7, 0, 2])).tolist() == [0, 1, 0, 2, 1]


def test_empty_keys_are_like_nothing() -> None:
    assert list(equal_pairs(["a", "", "b", "a", "", "a"])) == [(0, 3), (0, 5)]
