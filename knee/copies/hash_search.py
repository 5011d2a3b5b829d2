"""Perceptual hashes of images, and the search for pairs of hashes within a Hamming radius.

The hash is pHash (Zauner, "Implementation and benchmarking of perceptual image hash functions",
2010). Up to two million hashes the search is exhaustive; above it is locality-sensitive hashing by
bit sampling (Indyk and Motwani, STOC 1998; Gionis, Indyk and Motwani, VLDB 1999), whose number of
tables follows from the recall asked for.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from PIL import Image

from knee.reading.canonical_image import resize
from knee.storage.arrays import Integers, Pixels

HASH_SIDE: Final = 16  # the hash keeps the 16 x 16 lowest frequencies: 256 bits
HASH_BYTES: Final = HASH_SIDE * HASH_SIDE // 8
HASHED_SIDE_PIXELS: Final = 64  # of the reduced image that is hashed
EXHAUSTIVE_HASHES: Final = 2_000_000  # above, `sampled_pairs`; a million take a core-hour
PAIRS_AT_ONCE: Final = 2**25  # compared, and at worst all held
RECALL: Final = 0.995  # of `sampled_pairs`, for a pair exactly at the radius; more for nearer ones
KEPT_NEIGHBOURS: Final = 32  # later ones a hash: bounds the work among masses of look-alikes
SEED: Final = 42


def perceptual_hashes(pixels: Pixels) -> tuple[Pixels, Pixels]:
    """Return 256-bit hashes of an image and of its mirror image, uint8 (32,) each.

    A bit says whether a low frequency of the cosine transform lies above the median of all.
    `pixels` are uint8 (height, width).
    """
    import imagehash  # takes a third of a second

    reduced = resize(pixels, HASHED_SIDE_PIXELS, HASHED_SIDE_PIXELS)
    hashes = [
        np.packbits(imagehash.phash(Image.fromarray(image), hash_size=HASH_SIDE).hash)
        for image in (reduced, np.ascontiguousarray(reduced[:, ::-1]))
    ]
    return hashes[0], hashes[1]


def near_pairs(left: Pixels, right: Pixels, radius_bits: int) -> Integers:
    """Return pairs i < j of hashes left[i] and right[j] that differ in at most `radius_bits` bits.

    Hashes are uint8 (n, bytes), pairs int64 (pairs, 2) in ascending order. Every such pair for up
    to two million hashes, each with a probability of at least 0.995 above. Of a hash's later
    neighbours the nearest 32.
    """
    left, right = np.ascontiguousarray(left), np.ascontiguousarray(right)
    search = _exhaustive_pairs if len(left) <= EXHAUSTIVE_HASHES else sampled_pairs
    pairs = [np.empty((0, 2), np.int64), *search(left, right, radius_bits)]
    return _nearest(np.unique(np.concatenate(pairs), axis=0), left, right)


def sampled_pairs(left: Pixels, right: Pixels, radius_bits: int) -> Iterator[Integers]:
    """Yield most of the pairs of `near_pairs`, some several times.

    In each table, hashes that agree in some random bits are compared, a hash with at most 32
    others: two at the radius agree in all of these bits with a known probability, which sets the
    number of tables.
    """
    bits = left.shape[1] * 8
    sampled = max(1, min(bits, round(math.log2(max(2, len(left))))))
    random = np.random.default_rng(SEED)
    for _ in range(tables(bits, sampled, radius_bits)):
        chosen = random.choice(bits, sampled, replace=False)
        keys, right_keys = _keys(left, chosen), _keys(right, chosen)
        order, right_order = np.argsort(keys, kind="stable"), np.argsort(right_keys, kind="stable")
        keys, right_keys = keys[order], right_keys[right_order]
        begin = np.searchsorted(right_keys, keys, "left")
        end = np.searchsorted(right_keys, keys, "right")
        for offset in range(min(KEPT_NEIGHBOURS, int((end - begin).max(initial=0)))):
            rows = np.flatnonzero(begin + offset < end)
            pairs = np.stack([order[rows], right_order[begin[rows] + offset]], axis=1)
            pairs = pairs[pairs[:, 1] > pairs[:, 0]]
            yield pairs[distances(left, right, pairs) <= radius_bits]


def tables(bits: int, sampled: int, radius_bits: int) -> int:
    """Return how many draws of `sampled` of `bits` bits find a pair at the radius with `RECALL`."""
    # Without replacement: each bit that is drawn is one of those that do not differ.
    agree = math.prod((bits - radius_bits - drawn) / (bits - drawn) for drawn in range(sampled))
    if agree >= 1:
        return 1
    return math.ceil(math.log(1 - RECALL) / math.log1p(-max(agree, 1e-9)))


def distances(left: Pixels, right: Pixels, pairs: Integers) -> Integers:
    """Return in how many bits left[i] and right[j] differ, int64 (pairs,)."""
    differing = np.bitwise_count(left[pairs[:, 0]] ^ right[pairs[:, 1]])
    return np.asarray(differing.sum(axis=1, dtype=np.int64))


def nearest(
    first: Integers, second: Integers, distance: npt.NDArray[Any], neighbours: int
) -> Integers:
    """Return the places of the `neighbours` nearest `second` of each `first`, in this order."""
    order = np.lexsort((second, distance, first))
    _, start, count = np.unique(first[order], return_index=True, return_counts=True)
    rank = np.arange(len(order)) - np.repeat(start, count)
    return order[rank < neighbours]


def load_faiss() -> Any:
    """Return the package faiss, without its notes on the processor."""
    logging.getLogger("faiss.loader").setLevel(logging.WARNING)
    import faiss

    return faiss


def _exhaustive_pairs(left: Pixels, right: Pixels, radius_bits: int) -> Iterator[Integers]:
    index = load_faiss().IndexBinaryFlat(left.shape[1] * 8)
    index.add(right)
    at_once = max(1, PAIRS_AT_ONCE // max(1, len(right)))
    for start in range(0, len(left), at_once):
        queries = left[start : start + at_once]
        # faiss finds what is strictly nearer than its radius.
        limits, _, others = index.range_search(queries, radius_bits + 1)
        one = np.repeat(np.arange(len(queries)) + start, np.diff(limits.astype(np.int64)))
        pairs = np.stack([one, others.astype(np.int64)], axis=1)
        yield _nearest(pairs[pairs[:, 1] > pairs[:, 0]], left, right)


def _keys(hashes: Pixels, chosen: Integers) -> Integers:
    """The chosen bits of each hash as one number."""
    keys = np.zeros(len(hashes), np.int64)
    for bit in chosen:
        keys = keys << 1 | (hashes[:, bit // 8] >> (7 - bit % 8)) & 1
    return keys


def _nearest(pairs: Integers, left: Pixels, right: Pixels) -> Integers:
    """The pairs of each first index with its `KEPT_NEIGHBOURS` nearest, in ascending order."""
    distance = distances(left, right, pairs)
    return pairs[np.sort(nearest(pairs[:, 0], pairs[:, 1], distance, KEPT_NEIGHBOURS))]
