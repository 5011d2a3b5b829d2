"""Copies: each kind found, no stranger joined, no chain, the same whatever the order."""

import dataclasses
import json
import re
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import imagehash
import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from benchmarks.speed import straightforward
from knee.copies import affine_registration, copy_check, copy_groups, hash_search
from knee.copies.fingerprints import FingerprintFile, Fingerprints
from knee.reading.canonical_image import resize
from knee.run import parameters
from knee.storage.arrays import Integers, Pixels
from knee.synthetic import cohort
from stages import ingest
from tests.copies.pictures import KINDS, changed, picture

COPY = copy_check.CopyThresholds(0.976, 0.968, 0.35, 0.8, 0.97)
SEARCH = copy_groups.CopySearch(32, 8, 0.9, 10_000, COPY, 0.01)


# A field has detail up to its frame, which a film has not: cut edges and turned corners count.
ON_FIELDS = [how for how in KINDS if not re.search("shifted|bordered|cropped 0.04|143", how)]
ON_FILMS = [how for how in KINDS if not re.search("turned (90|143)|mirrored and cropped", how)]


@dataclasses.dataclass(frozen=True)
class Films:
    """Synthetic films, and which pairs of them show one picture."""

    names: list[str]
    all: list[Pixels]
    plain: list[Pixels]
    planted: set[frozenset[str]]


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Films:
    return drawn(tmp_path_factory.mktemp("films"), patients=40)


def drawn(folder: Path, patients: int) -> Films:
    """The project's own sample with fewer or as many patients, and what is planted in it."""
    images, truth_file = folder / "images", folder / "truth.json"
    cohort.write_sample(images, truth_file, patients=patients, size_pixels=256, seed=42)
    truth = json.loads(truth_file.read_text(encoding="utf-8"))
    names = [one["source"] for one in truth["images"]]
    pictures = [gray(images / name) for name in names]
    related = {name for family in truth["same_picture"] for name in family}
    return Films(
        names,
        pictures,
        [film for name, film in zip(names, pictures, strict=True) if name not in related],
        {frozenset(pair) for family in truth["same_picture"] for pair in combinations(family, 2)},
    )


def reduced(pictures: Sequence[Pixels]) -> Pixels:
    side = copy_check.REDUCED_SIDE_PIXELS
    return np.stack([resize(pixels, side, side) for pixels in pictures])


def groups(pictures: Sequence[Pixels], search: copy_groups.CopySearch = SEARCH) -> Integers:
    fingerprints = FingerprintFile.of(map(Fingerprints.of, pictures))
    return copy_groups.copy_groups(fingerprints, np.arange(len(pictures)), search).groups


def test_the_thresholds_tested_here_are_the_projects() -> None:
    settings = parameters.load(Path(__file__).parents[2] / "params.yaml")
    assert ingest.search(settings.ingest) == SEARCH


def test_every_kind_of_copy_is_found_among_strangers() -> None:
    originals = [picture(seed) for seed in range(len(ON_FIELDS) + 5)]
    assert missed(originals, ON_FIELDS) == []


def test_every_kind_of_copy_of_a_film_is_found(films: Films) -> None:
    assert missed(films.plain[: len(ON_FILMS) + 5], ON_FILMS) == []


def missed(originals: Sequence[Pixels], kinds: Sequence[str]) -> list[str]:
    """The kinds, each of one original, whose copy was not found; no original may be joined."""
    copies = [changed(original, how) for original, how in zip(originals, kinds, strict=False)]
    found = groups([*originals, *copies])
    assert found[: len(originals)].tolist() == list(range(len(originals)))
    return [how for place, how in enumerate(kinds) if found[len(originals) + place] != place]


def test_strangers_are_not_joined() -> None:
    assert groups([picture(seed) for seed in range(60)]).tolist() == list(range(60))


def test_groups_are_the_same_whatever_the_order() -> None:
    pictures = [picture(seed) for seed in range(6)]
    pictures += [changed(pictures[0], how) for how in KINDS[:8]]
    found = groups(pictures)
    order = np.random.default_rng(0).permutation(len(pictures))
    shuffled = groups([pictures[index] for index in order])
    same = found[order]
    np.testing.assert_array_equal(
        same[:, None] == same[None, :], shuffled[:, None] == shuffled[None, :]
    )
    np.testing.assert_array_equal(groups(pictures), found)


def test_rounds_link_what_they_would_with_all_components_made_anew(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """More than 64 rounds of 8 pairs: the rounds grow."""
    generator = np.random.default_rng(0)
    pairs = generator.integers(0, 60, (700, 2))
    copies = generator.random((60, 60)) < 0.05

    def holds(some: Integers) -> npt.NDArray[np.bool_]:
        return np.asarray(copies[some[:, 0], some[:, 1]])

    class Told(copy_check.Registrar):
        def register(self, _: Any, some: Integers, maps: Any, *__: Any) -> copy_check.Registered:
            agree = holds(some).astype(np.float64)
            return copy_check.Registered(maps, affine_registration.Agreement(agree, agree, agree))

    monkeypatch.setattr(copy_groups, "ROUND_PAIRS", 8)
    candidates = copy_groups.Links(pairs, np.zeros((len(pairs), 2, 3)))
    found = copy_groups.verify(np.empty((60, 0, 0), np.uint8), candidates, COPY, Told())
    expected = straightforward.linked(60, pairs[pairs[:, 0] != pairs[:, 1]], holds, 10)
    assert len(found.maps) == len(found.pairs)
    np.testing.assert_array_equal(found.pairs, expected)


def test_constant_images_resemble_nothing() -> None:
    blank = np.full((60, 60), 7, np.uint8)
    assert groups([blank, blank + np.uint8(1), picture(0)]).tolist() == [0, 1, 2]


def test_one_image_and_two_are_enough() -> None:
    assert groups([picture(0)]).tolist() == [0]
    assert groups([picture(0), changed(picture(0), "jpeg 60")]).tolist() == [0, 0]


def test_a_chain_never_glues_strangers() -> None:
    """0-1 and 1-2 were verified, but 2 shows something else than 1, the most linked one."""
    pictures = [picture(0), picture(0), picture(1), picture(1)]
    identity = np.eye(2, 3)[None].repeat(3, axis=0)
    links = copy_groups.Links(np.array([[0, 1], [1, 2], [2, 3]]), identity)
    loose, _ = copy_groups.consistent_groups(reduced(pictures), links, SEARCH)
    assert loose.tolist() == [0, 0, 1, 2] or loose.tolist() == [0, 0, 0, 1]
    star = copy_groups.Links(np.array([[0, 1], [0, 2], [2, 3]]), identity)
    found, _ = copy_groups.consistent_groups(reduced(pictures), star, SEARCH)
    assert found[3] != found[0]


def test_a_copy_of_a_copy_stays_with_its_group() -> None:
    original = picture(3)
    once = changed(original, "cropped 0.05 and jpeg 80")
    twice = changed(once, "turned 5 and jpeg 80")
    assert groups([original, once, twice, picture(4)]).tolist() == [0, 0, 0, 1]


def test_the_hash_is_the_one_of_the_reduced_image() -> None:
    pixels = picture(3)
    upright, mirrored = hash_search.perceptual_hashes(pixels)
    for bits, image in ((upright, pixels), (mirrored, np.ascontiguousarray(pixels[:, ::-1]))):
        reduced_image = Image.fromarray(resize(image, 64, 64))
        assert bits.tobytes().hex() == str(imagehash.phash(reduced_image, hash_size=16))


def joined(films: Films) -> set[frozenset[str]]:
    """Pairs of names that are one picture by their pixels alone."""
    found = groups(films.all)
    return {
        frozenset((films.names[one], films.names[two]))
        for one, two in combinations(range(len(found)), 2)
        if found[one] == found[two]
    }


@pytest.mark.slow
def test_in_the_whole_sample_every_planted_copy_is_found_and_none_is_invented(
    tmp_path: Path,
) -> None:
    """Every film of which there is a copy, among a sixth of those of which there is none."""
    settings = parameters.load(Path(__file__).parents[2] / "params.yaml").sample
    films = drawn(tmp_path, settings.patients)
    related = {name for pair in films.planted for name in pair}
    alone = [name for name in films.names if name not in related]
    kept = related | set(alone[::6])
    names, pictures = zip(
        *((name, film) for name, film in zip(films.names, films.all, strict=True) if name in kept),
        strict=True,
    )
    part = dataclasses.replace(films, names=list(names), all=list(pictures))
    assert joined(part) == films.planted


def gray(path: Path) -> Pixels:
    """Eight bits, the image's own range where it has more."""
    with Image.open(path) as image:
        if image.mode.startswith("I"):
            values = np.asarray(image, np.float64)
            return np.asarray(255 * (values - values.min()) / np.ptp(values), np.uint8)
        return np.asarray(image.convert("L"))
