"""Which records show the same picture: identical pixels, near copies, mirrored ones, lineage.

A pair is joined only after its own check, so no chain of look-alikes glues strangers: perceptual
hashes find candidates, the correlation of the reduced pixels confirms them.
"""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import PurePosixPath
from typing import Final

import numpy as np
import numpy.typing as npt
from PIL import Image

from stages.radiographs.pixels import Pixels, resize

HASH_BITS: Final = 256
HASH_SIDE: Final = 16  # the hash keeps the 16 x 16 lowest frequencies
HASHED_SIDE_PIXELS: Final = 64  # of the reduced image that is hashed
COMPARED_SIDE_PIXELS: Final = 48  # of the reduced image that is correlated
BLOCK_ELEMENTS: Final = 4_000_000  # distances held at once

Integers = npt.NDArray[np.int64]
Pair = tuple[int, int]


class LineageError(ValueError):
    """ingest.lineage_patterns cannot be used."""


def perceptual_hashes(pixels: Pixels) -> tuple[Pixels, Pixels]:
    """256-bit hashes of an image, uint8 (height, width), and of its mirror image, uint8 (32,) each.

    The signs of the lowest frequencies of the cosine transform against their median (pHash).
    """
    import imagehash  # takes a third of a second

    reduced = resize(pixels, HASHED_SIDE_PIXELS, HASHED_SIDE_PIXELS)
    hashes = [
        np.packbits(imagehash.phash(Image.fromarray(image), hash_size=HASH_SIDE).hash)
        for image in (reduced, np.ascontiguousarray(reduced[:, ::-1]))
    ]
    return hashes[0], hashes[1]


def near_pairs(left: Pixels, right: Pixels, radius_bits: int) -> Iterator[Integers]:
    """All i < j whose hashes left[i] and right[j], uint8 (n, 32), differ in <= `radius_bits` bits.

    Exhaustive, in blocks of bounded memory: int64 (pairs, 2) each, in ascending order.
    """
    left_words, right_words = (np.ascontiguousarray(bits).view(np.uint64) for bits in (left, right))
    count = len(left_words)
    step = max(1, BLOCK_ELEMENTS // max(1, count))
    for start in range(0, count, step):
        block = left_words[start : start + step]
        later = right_words[start + 1 :]
        distance = np.zeros((len(block), len(later)), np.uint16)
        for word in range(left_words.shape[1]):
            distance += np.bitwise_count(block[:, word, None] ^ later[None, :, word])
        first, second = np.nonzero(distance <= radius_bits)
        after = second >= first  # second counts from start + 1
        yield np.stack([first[after] + start, second[after] + start + 1], axis=1).astype(np.int64)


def correlations(
    reduced: Pixels, pairs: Integers, mirrored: bool, batch: int = 4096
) -> npt.NDArray[np.float32]:
    """Pearson correlation, -1 to 1, of the images of each pair; 0 where one is constant.

    Args:
        reduced: uint8 (n, side, side).
        pairs: int64 (m, 2), indices into `reduced`.
        mirrored: whether the second image of each pair is mirrored first.
        batch: pairs held at once.
    """
    result = np.zeros(len(pairs), np.float32)
    for start in range(0, len(pairs), batch):
        chosen = pairs[start : start + batch]
        second = reduced[chosen[:, 1]]
        one = _standardised(reduced[chosen[:, 0]])
        two = _standardised(second[:, :, ::-1] if mirrored else second)
        result[start : start + batch] = np.einsum("ij,ij->i", one, two)
    return result


def copy_pairs(
    hashes: Pixels, mirrored_hashes: Pixels, reduced: Pixels, radius_bits: int, correlation: float
) -> Iterator[Pair]:
    """Pairs that are near copies of each other, as they are or mirrored.

    Args:
        hashes: uint8 (n, 32), see `perceptual_hashes`.
        mirrored_hashes: uint8 (n, 32), of the mirror images.
        reduced: uint8 (n, 48, 48).
        radius_bits: largest distance of two hashes, of 256.
        correlation: smallest correlation of the reduced pixels.
    """
    for right, mirrored in ((hashes, False), (mirrored_hashes, True)):
        for pairs in near_pairs(hashes, right, radius_bits):
            confirmed = pairs[correlations(reduced, pairs, mirrored) >= correlation]
            yield from ((int(one), int(two)) for one, two in confirmed)


def equal_pairs(keys: Sequence[str]) -> Iterator[Pair]:
    """The first and each later index of the same key; "" is like nothing."""
    first: dict[str, int] = {}
    for index, key in enumerate(keys):
        if key and first.setdefault(key, index) != index:
            yield first[key], index


def compile_patterns(patterns: Sequence[str]) -> list[re.Pattern[str]]:
    """ingest.lineage_patterns as expressions.

    Raises:
        LineageError: one is not a regular expression.
    """
    try:
        return [re.compile(pattern) for pattern in patterns]
    except re.error as error:
        raise LineageError(f"ingest.lineage_patterns: {error.pattern!r}: {error}") from error


def source_stem(stem: str, patterns: Sequence[re.Pattern[str]]) -> str:
    """`stem` without the marks of derived copies: "knee 7_aug_2" is derived from "knee 7"."""
    cut = stem
    for pattern in patterns:
        cut = pattern.sub("", cut) or cut
    return cut if cut == stem else source_stem(cut, patterns)


def lineage_keys(sources: Sequence[str], patterns: Sequence[re.Pattern[str]]) -> list[str]:
    """One key a source path: equal for an image and its copies in the same folder, else "".

    Copies without their source are still one family. The same stem with two extensions is no
    family by itself: their pixels decide.
    """
    keys: list[str] = []
    families: set[str] = set()
    for source in sources:
        path = PurePosixPath(source)
        key = str(path.with_name(source_stem(path.stem, patterns)))
        keys.append(key)
        if key != str(path.with_suffix("")):
            families.add(key)
    return [key if key in families else "" for key in keys]


def components(count: int, pairs: Iterable[Pair]) -> Integers:
    """Connected components of `count` nodes, int64 (count,), numbered by their first node."""
    parent = list(range(count))

    def root(node: int) -> int:
        while parent[node] != node:
            parent[node] = parent[parent[node]]
            node = parent[node]
        return node

    for one, two in pairs:
        low, high = sorted((root(one), root(two)))
        parent[high] = low  # a root is its component's first node
    roots = [root(node) for node in range(count)]
    return np.unique(roots, return_inverse=True)[1].astype(np.int64)


def conflicting_labels(pictures: Sequence[int], labels: Sequence[str]) -> dict[int, list[str]]:
    """The pictures that stand under two or more labels, with these, sorted by bytes."""
    found: dict[int, set[str]] = defaultdict(set)
    for picture, label in zip(pictures, labels, strict=True):
        found[picture].add(label)
    return {
        picture: sorted(names, key=os.fsencode)
        for picture, names in found.items()
        if len(names) > 1
    }


def _standardised(images: Pixels) -> npt.NDArray[np.float32]:
    """float32 (n, pixels): mean 0, length 1; all 0 for a constant image."""
    flat = images.reshape(len(images), -1).astype(np.float32)
    flat -= flat.mean(axis=1, keepdims=True)
    length = np.linalg.norm(flat, axis=1, keepdims=True)
    return np.asarray(flat / np.where(length > 0, length, 1), np.float32)
