"""The hash search: every pair in reach, none out of it, bounded among masses of look-alikes."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from knee.copies import hash_search
from knee.storage.arrays import Pixels


def by_force(left: Pixels, right: Pixels, radius: int) -> list[list[int]]:
    one, two = (np.unpackbits(hashes, axis=1).astype(int) for hashes in (left, right))
    return [
        [i, j]
        for i in range(len(one))
        for j in range(i + 1, len(two))
        if np.abs(one[i] - two[j]).sum() <= radius
    ]


def with_copies(count: int, radius: int, seed: int) -> tuple[Pixels, set[tuple[int, int]]]:
    """Random hashes; each in the second half is `radius` bits from one in the first."""
    random = np.random.default_rng(seed)
    hashes = random.integers(0, 256, (count, 32), np.uint8)
    half = count // 2
    for number in range(half):
        changed = np.zeros(256, np.uint8)
        changed[random.choice(256, radius, replace=False)] = 1
        hashes[half + number] = hashes[number] ^ np.packbits(changed)
    return hashes, {(number, half + number) for number in range(half)}


@given(
    hnp.arrays(np.uint8, st.tuples(st.integers(1, 12), st.just(32)), elements=st.integers(0, 3)),
    st.integers(0, 64),
)
def test_the_search_is_exhaustive(hashes: Pixels, radius: int) -> None:
    turned = hashes[:, ::-1]
    found = hash_search.near_pairs(hashes, turned, radius)
    assert found.tolist() == by_force(hashes, turned, radius)


def test_the_search_is_the_same_whatever_is_compared_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hashes, planted = with_copies(400, 32, 0)
    monkeypatch.setattr(hash_search, "PAIRS_AT_ONCE", 1000)
    assert set(map(tuple, hash_search.near_pairs(hashes, hashes, 32).tolist())) == planted


@pytest.mark.parametrize("seed", range(3))
def test_sampling_finds_what_it_promises_even_at_the_radius(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    hashes, planted = with_copies(4000, 32, seed)
    monkeypatch.setattr(hash_search, "EXHAUSTIVE_HASHES", 0)
    found = set(map(tuple, hash_search.near_pairs(hashes, hashes, 32).tolist()))
    assert len(found & planted) >= 0.99 * len(planted)
    assert found <= planted


def test_sampling_never_goes_beyond_the_radius(monkeypatch: pytest.MonkeyPatch) -> None:
    hashes, planted = with_copies(400, 33, 0)
    monkeypatch.setattr(hash_search, "EXHAUSTIVE_HASHES", 0)
    assert len(hash_search.near_pairs(hashes, hashes, 32)) == 0
    assert len(hash_search.near_pairs(hashes, hashes, 33)) >= 0.99 * len(planted)


@pytest.mark.parametrize("exhaustive", [0, 10_000])
def test_masses_of_equal_hashes_stay_linear_and_connected(
    exhaustive: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    hashes = np.zeros((3000, 32), np.uint8)
    monkeypatch.setattr(hash_search, "EXHAUSTIVE_HASHES", exhaustive)
    pairs = hash_search.near_pairs(hashes, hashes, 32)
    assert len(pairs) <= 3000 * hash_search.KEPT_NEIGHBOURS
    reached = np.zeros(3000, bool)
    reached[0] = True
    for one, two in pairs:
        reached[two] |= reached[one]
    assert exhaustive == 0 or reached.all()


def test_more_bits_in_a_table_ask_for_more_tables() -> None:
    numbers = [hash_search.tables(256, sampled, 32) for sampled in (4, 8, 16, 20)]
    assert numbers == sorted(set(numbers))
    assert hash_search.tables(256, 8, 0) == 1
