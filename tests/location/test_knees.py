"""Knees found on synthetic films of another seed than that of the training."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.signal import correlate

from benchmarks.locator import composites, sources
from knee.location import convolutions, cropping, knees, locator_weights
from knee.location.knees import Knee
from knee.synthetic import non_radiographs
from tests.location.legs import bilateral, drawn

JOINT = Knee(x=100.0, y=80.0, width=50.0, score=1.0, lateral_right=0.5)


def test_a_joint_is_found_where_it_is_and_as_wide_as_it_is() -> None:
    for one in drawn():
        (found,) = knees.locate(one.pixels)
        assert np.hypot(found.x - one.x, found.y - one.y) < 0.05 * one.width
        assert found.width == pytest.approx(one.width, rel=0.1)


def test_two_knees_of_a_film_are_the_right_one_and_the_left_one_of_its_patient() -> None:
    film = bilateral()
    images = cropping.knee_images(film, knees.locate(film))
    assert [image.side for image in images] == ["right", "left"]
    assert images[0].knee.x < film.shape[1] / 2 < images[1].knee.x


def test_the_fibulae_tell_a_mirrored_film_of_two_knees() -> None:
    film = bilateral()
    assert not cropping.seems_mirrored(knees.locate(film))
    halves = np.array_split(film, 2, axis=1)
    swapped = np.concatenate([halves[1], halves[0]], axis=1)
    assert cropping.seems_mirrored(knees.locate(swapped))


def test_the_fibula_tells_a_wrong_side_of_a_lone_knee() -> None:
    for one in drawn():
        found, side = knees.locate(one.pixels), "left" if one.lateral_right else "right"
        other = {"left": "right", "right": "left"}[side]
        assert not cropping.seems_mirrored(found, side)
        assert cropping.seems_mirrored(found, other)
        assert not cropping.seems_mirrored(found)


def test_no_knee_is_found_where_there_is_none() -> None:
    others = {kind: images[0] for kind, images in non_radiographs.draw_all(160, 1, 5).items()}
    others["blank"] = np.zeros((200, 90), np.uint8)
    others["one pixel"] = np.zeros((1, 1), np.uint8)
    leg = drawn()[0]
    others["shaft"] = leg.pixels[int(leg.y + 0.9 * leg.width) :]
    assert [kind for kind, film in others.items() if knees.locate(film)] == []


def test_every_joint_has_the_same_width_in_its_image() -> None:
    shares = []
    for one in drawn():
        found = knees.locate(one.pixels)
        (image,) = cropping.knee_images(one.pixels, found, box_widths=1.2)
        shares.append(one.width / len(image.pixels))
    assert shares == pytest.approx([1 / 1.2] * len(shares), rel=0.1)


def test_a_film_of_one_joint_alone_is_left_as_it_is() -> None:
    film = np.zeros((100, 90), np.uint8)
    (image,) = cropping.knee_images(film, [JOINT], "left")
    assert image.pixels is film
    assert (image.side, image.left, image.top) == ("left", 0, 0)


def test_what_lies_beside_the_film_is_black() -> None:
    film = np.full((90, 400), 9, np.uint8)
    (image,) = cropping.knee_images(film, [JOINT], box_widths=2.0)
    assert (image.left, image.top, image.pixels.shape) == (50, 30, (100, 100))
    assert (image.pixels[:60] == 9).all()
    assert not image.pixels[60:].any()


def test_a_film_without_a_knee_has_no_image() -> None:
    assert cropping.knee_images(np.zeros((9, 9), np.uint8), []) == []


def test_a_convolution_is_a_correlation_with_zeros_around() -> None:
    random = np.random.default_rng(0)
    inputs = random.normal(size=(7, 6, 2)).astype(np.float32)
    kernel = random.normal(size=(3, 3, 2, 4)).astype(np.float32)
    weights = {"one_kernel": kernel, "one_bias": np.arange(4, dtype=np.float32)}
    padded = np.pad(inputs, ((1, 1), (1, 1), (0, 0)))
    expected = np.stack(
        [correlate(padded, kernel[..., number], "valid")[..., 0] + number for number in range(4)], 2
    )
    found = convolutions.convolve(inputs, weights, "one")
    np.testing.assert_allclose(found, expected, atol=1e-5)
    strided = convolutions.convolve(inputs, weights, "one", 2)
    np.testing.assert_allclose(strided, expected[::2, ::2], atol=1e-5)


def test_changed_weights_are_refused(tmp_path: Path) -> None:
    sha256, copy = locator_weights.recorded_sha256(), tmp_path / locator_weights.FILE
    locator_weights.copy_to(tmp_path, sha256)
    assert locator_weights.read(copy, sha256).keys() == knees._weights().keys()
    with copy.open("ab") as stream:
        stream.write(b"x")
    with pytest.raises(locator_weights.WeightsError, match="check it out anew"):
        locator_weights.read(copy, sha256)
    copy.unlink()
    with pytest.raises(locator_weights.WeightsError, match="cannot be read"):
        locator_weights.read(copy, sha256)


def test_earlier_weights_look_closer_at_their_own_size() -> None:
    weights, film = dict(knees._weights()), drawn()[0].pixels
    cells = 4 * 4 * len(weights["close6_bias"])
    weights["close7_kernel"] = weights["close7_kernel"][:cells]
    earlier = {name: weights[name][..., :5] for name in ("close8_kernel", "close8_bias")}
    assert knees.look_pixels(weights) == 64
    assert all(knee.turned < 0.5 for knee in knees.locate(film, {**weights, **earlier}))


def test_a_film_that_is_turned_is_refused() -> None:
    for one in drawn():
        assert cropping.refusal(knees.locate(one.pixels)) == ""
        turned = np.rot90(one.pixels, 2).copy()
        assert cropping.refusal(knees.locate(turned)) in (cropping.TURNED, cropping.NO_KNEE)
    assert cropping.refusal([]) == cropping.NO_KNEE


def test_registration_finds_the_joint_of_each_crop_and_none_of_a_negative() -> None:
    leg = drawn()[1]
    film = leg.pixels if leg.lateral_right else np.fliplr(leg.pixels)
    side = min(film.shape) - 12
    places = np.random.default_rng(3).integers(0, 12, (20, 2))
    crops = [film[down : down + side, right : right + side] for down, right in places]
    joints = sources.registered_joints([*crops, 255 - crops[0]])
    assert joints.pop() is None
    on_film = [
        (joint[1] + down, joint[0] + right)
        for joint, (down, right) in zip(filter(None, joints), places, strict=True)
    ]
    assert np.ptp(on_film, axis=0) == pytest.approx(0, abs=1)


def test_a_drawn_film_says_where_its_joints_are() -> None:
    films = [composites.draw_film(drawn(), np.random.default_rng(seed)) for seed in range(30)]
    assert {len(film.joints) for film in films} == {0, 1, 2}
    for film in films:
        height, width = film.pixels.shape
        assert all(0 < one.x < width and 0 < one.y < height for one in film.joints)
