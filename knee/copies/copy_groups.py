"""Copy groups: images that show the same radiograph, found without chains of look-alikes.

Candidates are pairs whose perceptual hashes lie within a radius, and look-alikes in any pose. A
pair counts only after its registration. Groups are made by star clustering (Aslam, Pelekhov and
Rus, JGAA 8(1), 2004): the image with most links is a group's centre, and each member, registered
with the centre itself, has to agree with it. So a chain of look-alikes never joins different
radiographs.
"""

from __future__ import annotations

import dataclasses
from collections import defaultdict, deque
from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
import pandas as pd

from knee.copies import affine_registration, altered_copies, copy_check, hash_search, look_alikes
from knee.copies.affine_registration import AffineMaps
from knee.copies.fingerprints import FingerprintFile
from knee.records import file_names
from knee.records.components import GrowingComponents, Pair, by_first, components, equal_pairs
from knee.storage.arrays import Floats, Integers, Pixels
from knee.storage.image_stacks import ChosenImages, ImageRows

ROUND_PAIRS: Final = 2048  # verified before looking again which images are linked already,
MOST_ROUNDS: Final = 64  # or more where that would be more rounds than these


@dataclasses.dataclass(frozen=True)
class CopySearch:
    """Settings of the search for copies."""

    radius_bits: int  # largest distance of the perceptual hashes, of 256
    neighbours: int  # look-alikes of an image that are verified
    similarity: float  # smallest correlation of a look-alike's blurred disc
    turned_images: int  # with more, only upright and mirrored look-alikes are searched
    copy: copy_check.CopyThresholds  # of a registered pair
    slack: float  # how much smaller the agreement of a member with its group's centre may be


@dataclasses.dataclass(frozen=True)
class Links:
    """Verified pairs, int64 (m, 2) fixed and moving, and their maps, float64 (m, 2, 3)."""

    pairs: Integers
    maps: AffineMaps
    agreement: Floats | None = None  # (m,) smaller correlation of each; None of candidates


class Join(NamedTuple):
    """Two images that were joined by their look: a group's centre, and one that agrees with it."""

    centre: int
    member: int
    agreement: float  # smaller of whole and local correlation, see `copy_check.CopyThresholds`
    altered: bool  # registered without margins, equalised or as a negative


class CopyGroups(NamedTuple):
    """Copy groups of images, and by what they came about."""

    groups: Integers  # (n,), numbered by their first images
    parts: list[Pair]  # pairs of images of which one shows what a half of the other does
    joins: list[Join]


class GroupedRecords(NamedTuple):
    """The records table with groups, and the pairs of records that were joined by their look."""

    records: pd.DataFrame
    joins: pd.DataFrame  # columns `JOINS`


JOINS: Final = ("record", "other", "agreement", "altered")


def copy_groups(
    fingerprints: FingerprintFile,
    images: Integers,
    search: CopySearch,
    registrar: copy_check.Registrar = copy_check.HERE,
) -> CopyGroups:
    """Return the copy groups of the `images` (n,), which are numbers in `fingerprints`.

    Of each group found among the images as they are, the first image is looked for among altered
    copies. What comes back numbers the images by their places in `images`.
    """
    hashes, mirrored_hashes = (kind[images] for kind in fingerprints.hashes())
    reduced = ChosenImages(fingerprints.reduced, images)
    candidates = find_candidates(hashes, mirrored_hashes, reduced, search)
    links = verify(reduced, candidates, search.copy, registrar)
    groups, joins = consistent_groups(reduced, links, search, registrar)
    first = np.unique(groups, return_index=True)[1]
    views = fingerprints.views(images[first])
    views = views._replace(image=first[views.image])
    altered = altered_copies.relatives(views, search.similarity, search.copy, registrar)
    together = equal_pairs([str(group) for group in groups])
    joins += [Join(*pair, altered.agreement[pair], altered=True) for pair in altered.copies]
    return CopyGroups(components(len(groups), [*together, *altered.copies]), altered.parts, joins)


def find_candidates(
    hashes: Pixels, mirrored_hashes: Pixels, reduced: ImageRows, search: CopySearch
) -> Links:
    """Return the pairs to verify and the maps to start from, most promising pairs first."""
    upright = hash_search.near_pairs(hashes, hashes, search.radius_bits)
    mirrored = hash_search.near_pairs(hashes, mirrored_hashes, search.radius_bits)
    bank = look_alikes.pose_bank(turned=len(reduced) <= search.turned_images)
    alike = look_alikes.look_alikes(reduced, bank, search.neighbours, search.similarity)
    order = np.lexsort((alike.pairs[:, 1], alike.pairs[:, 0], -alike.similarity))
    identity = np.eye(2, 3)[None]
    mirror = identity * np.array([[-1.0], [1.0]])
    pairs = np.concatenate([upright, mirrored, alike.pairs[order]])
    starts = [identity.repeat(len(upright), axis=0), mirror.repeat(len(mirrored), axis=0)]
    return Links(pairs, np.concatenate([*starts, alike.maps[order]]))


def verify(
    reduced: ImageRows,
    candidates: Links,
    copy: copy_check.CopyThresholds,
    registrar: copy_check.Registrar = copy_check.HERE,
) -> Links:
    """Return the candidates that agree as `copy` demands.

    Pairs that earlier rounds have linked already, directly or through others, are skipped.
    """
    joined = GrowingComponents()
    linked: list[Integers] = [np.empty((0, 2), np.int64)]
    maps: list[AffineMaps] = [np.empty((0, 2, 3))]
    agreement: list[Floats] = [np.empty(0)]
    size = max(ROUND_PAIRS, len(candidates.pairs) // MOST_ROUNDS)
    for start in range(0, len(candidates.pairs), size):
        pairs = candidates.pairs[start : start + size]
        apart = ~joined.connected(pairs)
        starts = candidates.maps[start : start + size][apart]
        registered = registrar.register(reduced, pairs[apart], starts, "copies")
        holds = copy.holds(registered.agreement)
        joined.connect(pairs[apart][holds])
        linked.append(pairs[apart][holds])
        maps.append(registered.maps[holds])
        agreement.append(registered.agreement.smaller()[holds])
    return Links(np.concatenate(linked), np.concatenate(maps), np.concatenate(agreement))


def consistent_groups(
    reduced: ImageRows,
    links: Links,
    search: CopySearch,
    registrar: copy_check.Registrar = copy_check.HERE,
) -> tuple[Integers, list[Join]]:
    """Return groups whose members all agree with their centre, int64 (n,), by first images.

    Members that do not agree with it form groups among themselves by the same rule. The second
    value are the pairs of centre and member.
    """
    slack = search.copy.loosened(search.slack)
    joined: list[Join] = []
    pairs, maps = links.pairs, links.maps
    unknown = np.full(len(pairs), np.nan)
    values = unknown if links.agreement is None else links.agreement
    verified = dict(zip(map(frozenset, pairs.tolist()), values.tolist(), strict=True))
    while len(pairs):
        centres, members, starts = _spokes(len(reduced), Links(pairs, maps))
        spokes = np.stack([centres, members], axis=1)
        # A member that is linked to its centre has been registered with it before.
        ends = [frozenset(spoke) for spoke in spokes.tolist()]
        linked = np.array([one in verified for one in ends], bool)
        agreement = np.array([verified.get(one, np.nan) for one in ends])
        registered = registrar.register(reduced, spokes[~linked], starts[~linked])
        holds = linked.copy()
        holds[~linked] = slack.holds(registered.agreement)
        agreement[~linked] = registered.agreement.smaller()
        found = zip(spokes[holds].tolist(), agreement[holds].tolist(), strict=True)
        joined += [Join(one, two, value, altered=False) for (one, two), value in found]
        settled = np.zeros(len(reduced), bool)
        settled[centres] = settled[members[holds]] = True
        open_pairs = ~(settled[pairs[:, 0]] | settled[pairs[:, 1]])
        pairs, maps = pairs[open_pairs], maps[open_pairs]
    return components(len(reduced), [(one.centre, one.member) for one in joined]), joined


def _spokes(count: int, links: Links) -> tuple[Integers, Integers, AffineMaps]:
    """Each linked image's centre, itself, and the map from the centre to it along the links.

    A breadth-first search from each centre, in the order of the number of links.
    """
    neighbours: dict[int, list[tuple[int, AffineMaps]]] = defaultdict(list)
    backward = affine_registration.inverted(links.maps)
    links_both_ways = zip(links.pairs.tolist(), links.maps, backward, strict=True)
    for (fixed, moving), there, back in links_both_ways:
        neighbours[fixed].append((moving, there))
        neighbours[moving].append((fixed, back))
    by_degree = sorted(neighbours, key=lambda image: (-len(neighbours[image]), image))
    seen = np.zeros(count, bool)
    spokes: list[tuple[int, int, AffineMaps]] = []
    for centre in by_degree:
        if seen[centre]:
            continue
        seen[centre] = True
        waiting = deque([(centre, np.eye(2, 3))])
        while waiting:
            image, so_far = waiting.popleft()
            for other, step in neighbours[image]:
                if not seen[other]:
                    seen[other] = True
                    onward = affine_registration.composed(step[None], so_far[None])[0]
                    spokes.append((centre, other, onward))
                    waiting.append((other, onward))
    centres, members, maps = zip(*spokes, strict=True)
    return np.array(centres), np.array(members), np.stack(maps)


def add_groups(
    frame: pd.DataFrame,
    fingerprints: FingerprintFile,
    search: CopySearch,
    lineage: file_names.Patterns,
    registrar: copy_check.Registrar = copy_check.HERE,
) -> GroupedRecords:
    """Return `frame` with copy groups and groups, each numbered in the order of first records.

    Identical pixels and named copies are one family at once; one image of each family is compared
    with the others by its pixels. A group joins the copy groups of one patient.

    Args:
        frame: the records table.
        fingerprints: of the rows with pixels, in order of pixel_row.
        search: for copies by their pixels.
        lineage: marks of copies in file names; such names join without a look at the pixels.
        registrar: of candidate pairs.
    """
    usable = frame[frame["pixel_row"] >= 0]
    sources = usable["source"].tolist()
    pairs = [*equal_pairs(usable["pixel_sha256"].tolist())]
    pairs += equal_pairs(file_names.lineage_keys(sources, lineage))
    families = components(len(usable), pairs)
    chosen = _representatives(sources, families, lineage)
    found = copy_groups(fingerprints, chosen, search, registrar)
    pictures = by_first(found.groups[families])
    result = frame.copy()
    result.loc[usable.index, "picture"] = pictures
    patients = equal_pairs(usable["patient"].tolist())
    copied = equal_pairs([str(picture) for picture in pictures])
    halves = [(int(chosen[one]), int(chosen[two])) for one, two in found.parts]
    result.loc[usable.index, "group"] = components(len(usable), [*copied, *patients, *halves])
    return GroupedRecords(result, _joins_table(usable["record"].to_numpy()[chosen], found.joins))


def _joins_table(records: Integers, joins: Sequence[Join]) -> pd.DataFrame:
    """The joins of images, by the record number of each image."""
    rows = [
        (int(records[one.member]), int(records[one.centre]), round(one.agreement, 4), one.altered)
        for one in joins
    ]
    return pd.DataFrame(sorted(rows), columns=[*JOINS])


def _representatives(
    sources: Sequence[str], families: Integers, patterns: file_names.Patterns
) -> Integers:
    """The first member of each family whose name is not a copy's, else its first member."""
    derived = ~file_names.originals(sources, patterns)
    order = np.lexsort((np.arange(len(sources)), derived, families))
    return np.asarray(order[np.unique(families[order], return_index=True)[1]], np.int64)
