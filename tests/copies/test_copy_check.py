"""The verdict on a pair: what a copy must hold, in either order, alone or in a batch."""

import numpy as np

from knee.copies import copy_check
from knee.copies.affine_registration import Agreement
from knee.reading.canonical_image import resize
from knee.storage.arrays import Pixels
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
    found = copy_check.register(images, pairs, IDENTITY.repeat(4, axis=0))
    assert COPY.holds(found.agreement).tolist() == [True, True, False, False]


def test_a_pair_is_judged_the_same_alone_and_among_many() -> None:
    images = reduced(*(picture(seed) for seed in range(4)), changed(picture(2), "turned 4"))
    pairs = np.array([[one, two] for one in range(5) for two in range(one)] * 5)
    among = copy_check.register(images, pairs, IDENTITY.repeat(len(pairs), axis=0))
    alone = copy_check.register(images, pairs[9:10], IDENTITY)
    for name in ("whole", "local", "overlap"):
        np.testing.assert_allclose(
            getattr(among.agreement, name)[[9, 19]], getattr(alone.agreement, name)[0], atol=1e-5
        )


def test_no_pairs_are_no_trouble() -> None:
    none = np.empty((0, 2), np.int64)
    found = copy_check.register(reduced(picture(0)), none, np.empty((0, 2, 3)))
    assert found.maps.shape == (0, 2, 3)
    assert found.agreement.whole.shape == (0,)
