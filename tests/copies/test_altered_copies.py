"""Altered copies: negatives, equalised and padded ones, and halves; no stranger is joined."""

from collections.abc import Sequence

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageOps

from knee.copies import altered_copies, copy_groups
from knee.copies.fingerprints import FingerprintFile, Fingerprints
from knee.records.components import Pair
from knee.storage.arrays import Integers, Pixels
from tests.copies.pictures import ALTERED, changed, picture
from tests.copies.test_copy_groups import SEARCH

STRANGERS = [picture(seed) for seed in range(20, 24)]


def related(pictures: Sequence[Pixels]) -> tuple[Integers, list[Pair]]:
    fingerprints = FingerprintFile.of(map(Fingerprints.of, pictures))
    found = copy_groups.copy_groups(fingerprints, np.arange(len(pictures)), SEARCH)
    return found.groups, found.parts


def ranks(pixels: Pixels) -> Pixels:
    return np.asarray(altered_copies.equalised(pixels[None])[0])


def test_every_kind_of_altered_copy_is_found_among_strangers() -> None:
    kinds = [*ALTERED, "negative and jpeg 60"]
    originals = [picture(seed) for seed in range(len(kinds) + 3)]
    copies = [changed(one, how) for one, how in zip(originals, kinds, strict=False)]
    groups, parts = related([*originals, *copies])
    assert groups.tolist() == [*range(len(originals)), *range(len(copies))]
    assert parts == []


def test_negatives_of_strangers_are_not_joined() -> None:
    pictures = [*STRANGERS, *(255 - picture(seed) for seed in range(10, 20))]
    groups, parts = related(pictures)
    assert groups.tolist() == list(range(14))
    assert parts == []


def test_a_negative_joins_the_group_of_its_radiographs_copies() -> None:
    pictures = [picture(0), picture(1), changed(picture(0), "jpeg 60"), 255 - picture(0)]
    assert related(pictures)[0].tolist() == [0, 1, 0, 0]


@pytest.mark.parametrize("how", ["jpeg 80", "mirrored", "negative", "gamma 2"])
def test_halves_belong_to_their_film_but_are_no_copies_of_it(how: str) -> None:
    right, left = STRANGERS[0], STRANGERS[1]
    film = changed(np.hstack([right, left]), how)
    groups, parts = related([right, *STRANGERS[2:], left, film])
    assert groups.tolist() == [0, 1, 2, 3, 4]
    assert parts == [(0, 4), (3, 4)]


@pytest.mark.parametrize("level", [0, 128, 255])
def test_halves_of_a_letterboxed_film_are_found(level: int) -> None:
    film = np.hstack([STRANGERS[0], STRANGERS[1]])
    padded = np.asarray(ImageOps.expand(Image.fromarray(film), (0, 80), level))
    assert related([*STRANGERS, padded])[1] == [(0, 4), (1, 4)]


def printed(pixels: Pixels) -> Pixels:
    """The image on a black page with the writing that all pages of one viewer have."""
    page = Image.new("L", (300, 300))
    draw = ImageDraw.Draw(page)
    for y in range(4, 296, 12):
        draw.text((4, y), "Hospital", fill=220)
        draw.text((230, y), "AP 60kV 5mAs", fill=220)
    draw.rectangle((60, 60, 240, 240), outline=255)
    page.paste(Image.fromarray(pixels).resize((130, 130)), (85, 85))
    return np.asarray(page)


def test_strangers_on_a_page_with_the_same_writing_are_not_joined() -> None:
    groups, parts = related([printed(one) for one in STRANGERS])
    assert groups.tolist() == list(range(len(STRANGERS)))
    assert parts == []


def test_images_of_hardly_any_gray_levels_are_left_alone() -> None:
    """Two masks that were stretched to one frame agree in everything."""
    masks = [np.zeros((96, 96), np.uint8) for _ in range(2)]
    masks[0][20:60, 30:50] = masks[1][10:80, 20:70] = 255
    for mask in masks:
        mask[:5, :5] = 255
    assert related(masks)[0].tolist() == [0, 1]


@pytest.mark.parametrize("gamma", [0.4, 0.7, 1.5, 2.5])
def test_ranks_do_not_change_with_gamma(gamma: float) -> None:
    pixels = np.random.default_rng(0).integers(0, 16, (40, 40), np.uint8) * np.uint8(16)
    lut = np.rint(255 * (np.arange(256) / 255) ** gamma).astype(np.uint8)
    assert len(np.unique(lut[::16])) >= 14  # hardly any levels fall together
    difference = ranks(np.asarray(lut[pixels])).astype(int) - ranks(pixels)
    assert np.abs(difference).max() <= 16


def test_ranks_of_the_negative_are_the_negative_of_the_ranks() -> None:
    pixels = picture(3)
    difference = ranks(255 - pixels).astype(int) - (255 - ranks(pixels))
    assert np.abs(difference).max() <= 1


@pytest.mark.parametrize("levels", [(255, 0), (0, 255), (128, 7), (60, 60)])
def test_margins_within_margins_of_any_gray_level_are_cut_off(levels: tuple[int, int]) -> None:
    inner, outer = levels
    image = ImageOps.expand(ImageOps.expand(Image.fromarray(picture(0)), 20, inner), 30, outer)
    shown = altered_copies.without_margins(np.asarray(image))
    assert min(shown.shape) >= 140
    assert max(shown.shape) <= 160


def test_an_image_without_margins_is_left_whole() -> None:
    assert altered_copies.without_margins(picture(0)).shape == picture(0).shape


@pytest.mark.parametrize("shape", [(1, 1), (1, 300), (300, 1), (2, 3), (5, 5)])
def test_tiny_and_uniform_images_have_views(shape: tuple[int, int]) -> None:
    noise = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    for pixels in (noise, np.full(shape, 9, np.uint8)):
        assert altered_copies.views_of(pixels, 96).shape[1:] == (96, 96)


def test_a_member_of_a_star_is_linked_to_its_centre() -> None:
    chain = [(0, 1), (1, 2), (2, 3), (3, 4)]
    assert altered_copies.stars(chain) == [(1, 0), (1, 2), (3, 4)]
    assert altered_copies.stars([]) == []


def test_images_of_both_polarities_are_pooled_and_their_negatives_follow() -> None:
    images = np.random.default_rng(0).integers(0, 256, (300, 96, 96), np.uint8)
    both = altered_copies._BothPolarities(images)
    pooled = np.rint(images.reshape(300, 32, 3, 32, 3).mean((2, 4))).astype(np.uint8)
    expected = np.concatenate([pooled, 255 - pooled])
    assert len(both) == 600
    np.testing.assert_array_equal(both[0:600], expected)
    np.testing.assert_array_equal(both[290:310], expected[290:310])
    some = np.array([599, 0, 300, 299])
    np.testing.assert_array_equal(both[some], expected[some])
