"""Pictures and groups of the records table: names, pixels and patients join, nothing else does."""

from pathlib import Path

import numpy as np
import pandas as pd

from knee.copies import copy_check, copy_groups
from knee.copies.fingerprints import FingerprintFile, Fingerprints
from knee.records import file_names
from knee.run import parameters
from knee.storage.arrays import Pixels
from tests.copies.pictures import changed, picture

SEARCH = copy_groups.CopySearch(
    32, 8, 0.9, 10_000, copy_check.CopyThresholds(0.976, 0.968, 0.35, 0.8, 0.97), slack=0.01
)
LINEAGE = file_names.compile_patterns([r"_aug_\d+$"])


def table(rows: list[tuple[str, str, Pixels | None]]) -> tuple[pd.DataFrame, FingerprintFile]:
    """Of (source, patient, image); None: rejected."""
    fingerprints = FingerprintFile()
    records: list[tuple[int, str, str, int, str, int, int]] = []
    for source, patient, image in rows:
        number = -1 if image is None else len(fingerprints)
        digest = "" if image is None else str(hash(image.tobytes()))
        records.append((len(records), source, patient, number, digest, -1, -1))
        if image is not None:
            fingerprints.append(Fingerprints.of(image))
    names = ["record", "source", "patient", "pixel_row", "pixel_sha256", "picture", "group"]
    return pd.DataFrame(records, columns=names, index=np.arange(len(rows)) * 2), fingerprints


def test_names_pixels_and_patients_join_and_nothing_else() -> None:
    frame, fingerprints = table(
        [
            ("a/1.png", "p", picture(0)),
            ("a/1_aug_0.png", "", picture(7)),  # the name alone says so
            ("a/2.png", "q", picture(1)),
            ("a/broken.png", "p", None),
            ("b/3.png", "", picture(1)),  # the same pixels
            ("b/4.png", "p", changed(picture(2), "turned 5")),
            ("b/5.png", "", picture(2)),
            ("b/6_aug_1.png", "", changed(picture(1), "mirrored and jpeg 70")),
            ("b/7.png", "", picture(3)),
        ]
    )
    found = copy_groups.add_groups(frame, fingerprints, SEARCH, LINEAGE).records
    assert found["picture"].tolist() == [0, 0, 1, -1, 1, 2, 2, 1, 3]
    assert found["group"].tolist() == [0, 0, 1, -1, 1, 0, 0, 1, 2]
    assert frame["picture"].tolist() == [-1] * 9  # the argument is left alone


def test_a_family_is_compared_by_its_source_not_by_a_copy() -> None:
    """The copies are too much changed to be found; their source is not."""
    frame, fingerprints = table(
        [
            ("a/1_aug_0.png", "", picture(8)),
            ("a/1.png", "", picture(0)),
            ("b/2.png", "", changed(picture(0), "jpeg 60")),
        ]
    )
    grouped = copy_groups.add_groups(frame, fingerprints, SEARCH, LINEAGE).records
    assert grouped["picture"].tolist() == [0, 0, 0]
    assert len(np.unique(grouped["group"])) == 1


def test_numbered_films_of_a_series_are_no_copies_in_the_projects_own_settings() -> None:
    ingest = parameters.load(Path(__file__).parents[2] / "params.yaml").ingest
    lineage = file_names.patterns_of(ingest)
    frame, fingerprints = table(
        [(f"a/knee ({number}).png", "", picture(number)) for number in range(4)]
    )
    grouped = copy_groups.add_groups(frame, fingerprints, SEARCH, lineage).records
    assert grouped["picture"].tolist() == [0, 1, 2, 3]


def test_a_film_of_both_knees_and_its_halves_are_one_group_of_three_copy_groups() -> None:
    right, left = picture(0), picture(1)
    frame, fingerprints = table(
        [
            ("a/right.png", "", right),
            ("a/other.png", "", picture(2)),
            ("b/both.png", "", np.hstack([right, left])),
            ("b/left.png", "", left),
        ]
    )
    grouped = copy_groups.add_groups(frame, fingerprints, SEARCH, LINEAGE).records
    assert grouped["picture"].tolist() == [0, 1, 2, 3]
    assert grouped["group"].tolist() == [0, 1, 0, 0]
