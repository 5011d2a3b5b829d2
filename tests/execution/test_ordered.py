"""Results in order, from workers that are late, come in any order, or are lost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from knee.execution.local import Inline
from knee.execution.ordered import ordered
from knee.execution.place import ExecutionError
from tests.execution.unsteady import Unsteady


def squares(offset: int, items: Sequence[int]) -> list[int]:
    return [offset + item**2 for item in items]


def nobody(_: int) -> bool:
    return False


def chunked(items: Sequence[int], size: int) -> list[Sequence[int]]:
    return [items[start : start + size] for start in range(0, len(items), size)]


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 20), st.integers(1, 6), st.integers(1, 5), st.integers(0, 3))
def test_results_come_in_order_whatever_is_late_or_lost_within_a_bounded_window(
    count: int, size: int, window: int, lost: int
) -> None:
    place, chunks = Unsteady(window, lost, nobody, lost), chunked(range(count), size)
    arrived: list[tuple[int, int]] = []
    results = ordered(
        place,
        squares,
        [7],
        chunks,
        name=str,
        arrived=lambda items, found: arrived.extend(zip(items, found, strict=True)),
    )
    for yielded, (chunk, found) in enumerate(zip(chunks, results, strict=True), 1):
        assert found == squares(7, chunk)
        begun = {chunk[0] for chunk in place.begun}
        assert len(begun) <= yielded + window
    assert sorted(arrived) == [(item, 7 + item**2) for item in range(count)]
    assert len(place.begun) == len(chunks) + (lost if chunks else 0)


@settings(deadline=None, max_examples=20)
@given(st.integers(1, 16), st.integers(0, 2), st.data())
def test_a_chunk_is_halved_down_to_the_item_that_ends_workers(
    count: int, retries: int, data: st.DataObject
) -> None:
    cursed = data.draw(st.integers(0, count - 1))
    place = Unsteady(2, retries, {cursed}.__contains__, 0)
    with pytest.raises(ExecutionError, match=rf"^film {cursed} ended {retries + 1} worker"):
        list(ordered(place, squares, [0], [range(count)], name=lambda item: f"film {item}"))
    tries = Counter(tuple(items) for items in place.begun if cursed in items)
    assert set(tries.values()) == {retries + 1}
    assert len(tries) <= 1 + count.bit_length()


def test_an_error_of_the_task_is_raised_as_it_is_and_not_tried_again() -> None:
    place = Unsteady(2, 5, nobody, 0)

    def broken(items: Sequence[int]) -> list[int]:
        raise ZeroDivisionError(items[0])

    with pytest.raises(ZeroDivisionError):
        list(ordered(place, broken, [], [[1]], name=str))
    assert place.begun == [[1]]


def test_this_process_does_one_after_the_other_and_keeps_each_at_once() -> None:
    events: list[str] = []

    def told(items: Sequence[int]) -> list[int]:
        events.append(f"do {items[0]}")
        return [*items]

    kept = ordered(
        Inline(),
        told,
        [],
        [[1], [2]],
        name=str,
        arrived=lambda one, _: events.append(f"keep {one[0]}"),
    )
    assert [*kept] == [[1], [2]]
    assert events == ["do 1", "keep 1", "do 2", "keep 2"]
