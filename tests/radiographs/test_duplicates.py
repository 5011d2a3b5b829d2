import io
from collections.abc import Sequence

import imagehash
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from stages.radiographs import duplicates
from stages.radiographs.pixels import Pixels, resize

PATTERNS = duplicates.compile_patterns([r"_aug_\d+$", r" copy$"])


def picture(seed: int, side: int = 160) -> Pixels:
    """A smooth random field, as distinct from another seed's as two radiographs."""
    coarse = np.random.default_rng(seed).integers(0, 256, (12, 12), np.uint8)
    return resize(coarse, side, side)


def reencoded(pixels: Pixels, quality: int) -> Pixels:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG", quality=quality)
    return np.asarray(Image.open(stream))


def found(
    pictures: Sequence[Pixels], radius_bits: int = 32, correlation: float = 0.985
) -> set[duplicates.Pair]:
    both = [duplicates.perceptual_hashes(pixels) for pixels in pictures]
    side = duplicates.COMPARED_SIDE_PIXELS
    return set(
        duplicates.copy_pairs(
            np.stack([upright for upright, _ in both]),
            np.stack([mirrored for _, mirrored in both]),
            np.stack([resize(pixels, side, side) for pixels in pictures]),
            radius_bits,
            correlation,
        )
    )


def changed(pixels: Pixels, how: str) -> Pixels:
    if how == "re-encoded":
        return reencoded(pixels, 60)
    if how == "mirrored":
        return np.ascontiguousarray(pixels[:, ::-1])
    if how == "mirrored and re-encoded":
        return reencoded(np.ascontiguousarray(pixels[:, ::-1]), 60)
    if how == "smaller":
        return resize(pixels, 90, 90)
    return (pixels * 0.8 + 20).astype(np.uint8)


@pytest.mark.parametrize(
    "how", ["re-encoded", "mirrored", "mirrored and re-encoded", "smaller", "other exposure"]
)
def test_a_copy_is_found_among_strangers(how: str) -> None:
    originals = [picture(seed) for seed in range(6)]
    assert found([*originals, changed(originals[2], how)]) == {(2, 6)}


def test_a_candidate_is_no_copy_unless_its_pixels_agree() -> None:
    pictures = [picture(0), picture(1)]
    assert found(pictures, radius_bits=256, correlation=0.985) == set()
    assert found(pictures, radius_bits=256, correlation=-1) == {(0, 1)}


def test_constant_images_resemble_nothing() -> None:
    blank = np.full((60, 60), 7, np.uint8)
    assert found([blank, blank + np.uint8(1), picture(0)]) == set()


def test_the_hash_is_the_one_of_the_reduced_image() -> None:
    pixels = picture(3)
    upright, mirrored = duplicates.perceptual_hashes(pixels)
    for bits, image in ((upright, pixels), (mirrored, np.ascontiguousarray(pixels[:, ::-1]))):
        reduced = Image.fromarray(resize(image, 64, 64))
        assert bits.tobytes().hex() == str(imagehash.phash(reduced, hash_size=16))


@given(
    hnp.arrays(np.uint8, st.tuples(st.integers(1, 12), st.just(32)), elements=st.integers(0, 3)),
    st.integers(0, 64),
    st.integers(1, 30),
)
def test_the_search_is_exhaustive_whatever_the_block(
    hashes: Pixels, radius: int, elements: int
) -> None:
    turned = hashes[:, ::-1]
    bits = np.unpackbits(hashes, axis=1).astype(int)
    turned_bits = np.unpackbits(turned, axis=1).astype(int)
    expected = [
        [one, two]
        for one in range(len(hashes))
        for two in range(one + 1, len(hashes))
        if np.abs(bits[one] - turned_bits[two]).sum() <= radius
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(duplicates, "BLOCK_ELEMENTS", elements)
        blocks = list(duplicates.near_pairs(hashes, turned, radius))
    assert np.concatenate(blocks).tolist() == expected


@given(hnp.arrays(np.uint8, (4, 6, 6)), st.booleans(), st.integers(1, 4))
def test_correlation_is_pearsons(reduced: Pixels, mirrored: bool, batch: int) -> None:
    pairs = np.array([[0, 1], [1, 2], [0, 3]])
    ours = duplicates.correlations(reduced, pairs, mirrored, batch)
    for (one, two), value in zip(pairs, ours, strict=True):
        other = reduced[two][:, ::-1] if mirrored else reduced[two]
        if np.ptp(reduced[one]) == 0 or np.ptp(other) == 0:
            assert value == 0
        else:
            expected = np.corrcoef(reduced[one].ravel(), other.ravel())[0, 1]
            assert value == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize(
    ("stem", "source"),
    [
        ("Normal 12", "Normal 12"),
        ("Normal 12_aug_3", "Normal 12"),
        ("Normal 12_aug_3_aug_10", "Normal 12"),
        ("Normal 12 copy_aug_1 copy", "Normal 12"),
        ("_aug_3", "_aug_3"),
        ("aug_3_x", "aug_3_x"),
    ],
)
def test_the_marks_of_copies_are_cut_from_the_stem(stem: str, source: str) -> None:
    assert duplicates.source_stem(stem, PATTERNS) == source


def test_lineage_joins_a_source_and_its_copies_in_one_folder_only() -> None:
    sources = [
        "a/1.jpg",
        "a/1_aug_0.jpeg",
        "a/2_aug_0.png",
        "a/2_aug_1.png",
        "b/1.jpg",
        "b/deep/1_aug_1.jpg",
        "b/3.v2.jpg",
        "b/3.v2_aug_7.jpg",
    ]
    keys = duplicates.lineage_keys(sources, PATTERNS)
    assert sorted(duplicates.equal_pairs(keys)) == [(0, 1), (2, 3), (6, 7)]


def test_the_same_stem_with_two_extensions_is_no_lineage() -> None:
    keys = duplicates.lineage_keys(["a/1.jpg", "a/1.png", "a/2.jpg"], PATTERNS)
    assert keys == ["", "", ""]


def test_a_bad_pattern_is_named() -> None:
    with pytest.raises(duplicates.LineageError, match=r"ingest\.lineage_patterns: '\('"):
        duplicates.compile_patterns(["("])


edges = st.lists(st.tuples(st.integers(0, 19), st.integers(0, 19)), max_size=30)


@given(edges)
def test_components_join_exactly_what_is_connected(pairs: list[duplicates.Pair]) -> None:
    numbers = duplicates.components(20, pairs)
    reach = np.eye(20, dtype=bool)
    for one, two in pairs:
        reach[one, two] = reach[two, one] = True
    for middle in range(20):
        reach |= np.outer(reach[:, middle], reach[middle])
    np.testing.assert_array_equal(numbers[:, None] == numbers[None, :], reach)


@given(edges, st.permutations(range(30)))
def test_components_are_numbered_by_first_node_whatever_the_order_of_pairs(
    pairs: list[duplicates.Pair], order: list[int]
) -> None:
    numbers = duplicates.components(20, pairs)
    _, first = np.unique(numbers, return_index=True)
    assert sorted(first) == first.tolist()
    assert set(numbers.tolist()) == set(range(len(first)))
    shuffled = [pairs[index][::-1] for index in order if index < len(pairs)]
    np.testing.assert_array_equal(duplicates.components(20, shuffled), numbers)


def test_pictures_under_several_labels_are_named_with_them() -> None:
    labels = ["b", "a", "a", "a", "c"]
    assert duplicates.conflicting_labels([0, 0, 1, 1, 0], labels) == {0: ["a", "b", "c"]}
