"""Look-alikes: a copy in any pose is near its source, and the pose found is where it lies."""

import numpy as np
import pytest

from knee.copies import look_alikes
from knee.reading.canonical_image import resize
from knee.storage.arrays import Pixels
from tests.copies.pictures import changed, picture


def reduced(pictures: list[Pixels]) -> Pixels:
    return np.stack([resize(pixels, 96, 96) for pixels in pictures])


@pytest.mark.parametrize(
    "how", ["mirrored", "turned 45", "turned 200", "mirrored and turned 75", "cropped 0.08"]
)
def test_a_turned_copy_is_the_nearest(how: str) -> None:
    pictures = [picture(seed) for seed in range(8)]
    pictures.append(changed(pictures[3], how))
    found = look_alikes.look_alikes(reduced(pictures), look_alikes.pose_bank(turned=True), 3, 0.8)
    best = int(np.argmax(found.similarity))
    assert sorted(found.pairs[best].tolist()) == [3, 8]
    assert found.similarity[best] > 0.9


def test_each_pair_comes_once_a_side_and_no_image_with_itself() -> None:
    pictures = [picture(seed % 5) for seed in range(20)]
    found = look_alikes.look_alikes(reduced(pictures), look_alikes.pose_bank(turned=True), 6, 0.5)
    assert (found.pairs[:, 0] != found.pairs[:, 1]).all()
    mirrored = np.linalg.det(found.maps[:, :, :2]) < 0
    pairs = [
        (frozenset(pair), side)
        for pair, side in zip(found.pairs.tolist(), mirrored.tolist(), strict=True)
    ]
    assert len(pairs) == len(set(pairs))
    assert len(pairs) <= 20 * (2 * 6 + 1)


def test_a_nearly_symmetric_picture_is_tried_both_ways() -> None:
    half = picture(0)[:, :80]
    symmetric = np.hstack([half, half[:, ::-1]])
    marked = symmetric.copy()
    marked[20:32, 20:32] = 255
    found = look_alikes.look_alikes(
        reduced([symmetric, marked]), look_alikes.pose_bank(turned=False), 2, 0.8
    )
    assert sorted(np.linalg.det(found.maps[:, :, :2]).round(1)) == [-1.0, 1.0]


def test_the_bank_without_turns_is_the_start_of_the_whole() -> None:
    upright, whole = look_alikes.pose_bank(turned=False), look_alikes.pose_bank(turned=True)
    np.testing.assert_array_equal(whole[: len(upright)], upright)
    np.testing.assert_allclose(upright[0], np.eye(2, 3))


def test_cells_find_what_the_exhaustive_search_finds(monkeypatch: pytest.MonkeyPatch) -> None:
    pictures = [picture(seed) for seed in range(300)]
    pictures += [changed(pixels, "brighter 0.9") for pixels in pictures[:40]]
    bank = look_alikes.pose_bank(turned=False)
    exact = look_alikes.look_alikes(reduced(pictures), bank, 2, 0.95)
    monkeypatch.setattr(look_alikes, "EXHAUSTIVE_IMAGES", 0)
    sampled = look_alikes.look_alikes(reduced(pictures), bank, 2, 0.95)
    copies = {(number, number + 300) for number in range(40)}
    for found in (exact, sampled):
        assert copies <= {(min(pair), max(pair)) for pair in found.pairs.tolist()}


def test_nothing_looks_like_a_constant_image() -> None:
    blank = np.full((3, 96, 96), 8, np.uint8)
    assert (
        len(look_alikes.look_alikes(blank, look_alikes.pose_bank(turned=False), 2, 0.1).pairs) == 0
    )


def test_an_index_made_in_parts_once_gives_what_the_images_give(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    images = reduced([picture(seed % 50) for seed in range(150)])
    bank = look_alikes.pose_bank(turned=False)
    whole = look_alikes.look_alikes(images, bank, 3, 0.8)
    monkeypatch.setattr(look_alikes, "ADDED_IMAGES", look_alikes.BATCH_IMAGES)
    index = look_alikes.DiscIndex(images)
    for found in (look_alikes.look_alikes(index, bank, 3, 0.8) for _ in range(2)):
        for one, other in zip(vars(whole).values(), vars(found).values(), strict=True):
            np.testing.assert_array_equal(one, other)
