"""The verdict on a pair: what a copy must hold, in either order, alone or in a batch."""

from pathlib import Path

import numpy as np
import pytest

from knee.copies import copy_check
from knee.copies.affine_registration import Agreement
from knee.execution.place import Place
from knee.execution.processes import Processes
from knee.reading.canonical_image import resize
from knee.storage.arrays import Pixels
from knee.storage.known_results import KnownResults
from tests.copies.pictures import changed, picture

COPY = copy_check.CopyThresholds(
    whole=0.9, local=0.8, overlap=0.5, marked_whole=0.7, marked_local=0.95
)
IDENTITY = np.eye(2, 3)[None]


def reduced(*pictures: Pixels) -> Pixels:
    side = copy_check.REDUCED_SIDE_PIXELS
    return np.stack([resize(pixels, side, side) for pixels in pictures])


def agree(whole: float, local: float, overlap: float) -> Agreement:
    return Agreement(np.array([whole]), np.array([local]), np.array([overlap]))


def test_a_copy_agrees_everywhere_or_everywhere_but_in_marks() -> None:
    assert COPY.holds(agree(0.9, 0.8, 0.5)).all()
    assert COPY.holds(agree(0.7, 0.95, 0.5)).all()
    for lacking in ((0.89, 0.94, 1), (0.95, 0.79, 1), (0.69, 1.0, 1), (1.0, 1.0, 0.49)):
        assert not COPY.holds(agree(*lacking)).any()


def test_loosened_demands_less_of_correlations_alone() -> None:
    loose = COPY.loosened(0.1)
    assert loose.holds(agree(0.81, 0.71, 0.5)).all()
    assert not loose.holds(agree(0.81, 0.71, 0.49)).any()


def test_either_order_of_a_pair_gives_one_verdict() -> None:
    images = reduced(picture(0), changed(picture(0), "turned 5"), picture(1))
    pairs = np.array([[0, 1], [1, 0], [0, 2], [2, 0]])
    found = copy_check.HERE.register(images, pairs, IDENTITY.repeat(4, axis=0))
    assert COPY.holds(found.agreement).tolist() == [True, True, False, False]


def bits(found: copy_check.Registered) -> bytes:
    """Every number of the registered pairs, a row a pair."""
    return np.column_stack([found.maps.reshape(-1, 6), *found.agreement]).tobytes()


def test_a_pair_has_the_same_bits_alone_and_among_any_others(tmp_path: Path) -> None:
    images = reduced(*(picture(seed) for seed in range(4)), changed(picture(2), "turned 4"))
    pairs = np.array([[one, two] for one in range(5) for two in range(one)] * 4)
    starts = IDENTITY.repeat(len(pairs), axis=0)
    expected = bits(copy_check.HERE.register(images, pairs, starts))
    for size in (1, 3):
        parts = [slice(first, first + size) for first in range(0, len(pairs), size)]
        apart = [bits(copy_check.HERE.register(images, pairs[p], starts[p])) for p in parts]
        assert b"".join(apart) == expected
    for first in (30, 10, 0):  # none known, then some, then all
        with KnownResults(tmp_path / "known", {}) as known:
            found = copy_check.Registrar(known).register(images, pairs[first:], starts[first:])
        assert bits(found) == expected[first * 72 :]


def test_many_pairs_have_the_same_bits_in_other_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    images = reduced(*(picture(seed) for seed in range(3)), changed(picture(2), "turned 4"))
    pairs = np.array([[one, two] for one in range(4) for two in range(one)] * 50)
    starts = IDENTITY.repeat(len(pairs), axis=0)
    expected = bits(copy_check.HERE.register(images, pairs, starts))
    monkeypatch.setattr(copy_check, "MANY_PAIRS", len(pairs))
    with Processes(2) as processes:
        registrar = copy_check.Registrar(None, unused_place, lambda: processes)
        assert bits(registrar.register(images, pairs, starts)) == expected
        with pytest.raises(AssertionError):
            registrar.register(images, pairs[1:], starts[1:])


def unused_place() -> Place:
    raise AssertionError("few pairs are registered here")


def test_no_pairs_are_no_trouble() -> None:
    none = np.empty((0, 2), np.int64)
    found = copy_check.HERE.register(reduced(picture(0)), none, np.empty((0, 2, 3)))
    assert found.maps.shape == (0, 2, 3)
    assert found.agreement.whole.shape == (0,)
