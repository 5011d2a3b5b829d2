"""What names tell: the source of a copy, and families in one folder."""

import pytest

from knee.records import file_names
from knee.records.components import equal_pairs

PATTERNS = file_names.compile_patterns([r"_aug_\d+$", r" copy$"])


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
    assert file_names.source_stem(stem, PATTERNS) == source


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
    keys = file_names.lineage_keys(sources, PATTERNS)
    assert sorted(equal_pairs(keys)) == [(0, 1), (2, 3), (6, 7)]


def test_the_same_stem_with_two_extensions_is_no_lineage() -> None:
    assert file_names.lineage_keys(["a/1.jpg", "a/1.png", "a/2.jpg"], PATTERNS) == ["", "", ""]


def test_a_file_managers_copies_join_their_source_and_a_numbered_series_does_not() -> None:
    patterns = file_names.compile_patterns([r"_aug_\d+$"], [r" copy$", r" ?\(\d+\)$"])
    sources = [
        "a/knee.jpg",
        "a/knee (1).jpg",
        "a/knee copy.png",
        "a/knee_aug_1 (2).jpg",
        "a/knee_aug_1.jpg",
        "a/series (1).jpg",
        "a/series (2).jpg",
        "b/knee (1).jpg",
    ]
    keys = file_names.lineage_keys(sources, patterns)
    assert keys == ["a/knee"] * 5 + [""] * 3
