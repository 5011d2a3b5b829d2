"""Parameters of the data: from files to training rows."""

from __future__ import annotations

import dataclasses
from typing import Literal


@dataclasses.dataclass(frozen=True)
class Data:
    """Which radiographs, and what their classes mean."""

    name: str  # short identifier, part of the registered model's name
    path: str  # folder with one sub-folder a class, or an archive (zip, tar) of one
    sheet: str  # CSV or Excel sheet with path, label and more; conf/no_sheet.csv: none
    bone_masks: str  # folder of PNG masks, white is bone; conf/no_bone_masks: none
    generators: tuple[str, ...]  # ("sample",) where the sample is generated, else empty
    downloads: tuple[str, ...]  # ("kaggle",) where the data set is downloaded, else empty
    dataset: str  # Kaggle's owner/name/versions/number, or ""
    synthetic: bool  # True marks every result as synthetic
    classes: tuple[str, ...]  # ordinal scale, least to most severe; empty: sorted folder names
    parts: tuple[str, ...]  # folders above the class folders: official subsets; empty: none
    patient_pattern: str  # regular expression on the file stem, groups "patient" and "side"; or ""
    origin_pattern: str  # likewise: group "origin", or the name of the group that matches; or ""


@dataclasses.dataclass(frozen=True)
class Sample:
    """The generator of synthetic radiographs."""

    patients: int  # >= 12
    size_pixels: int  # longer side of a generated close-up
    seed: int


@dataclasses.dataclass(frozen=True)
class Ingest:
    """Files -> records table and canonical pixels."""

    image_size_pixels: int  # side of the square canonical image
    fit: Literal["letterbox", "squash", "crop"]
    crop_borders: bool  # cut uniform margins off before fitting
    hash_radius_bits: int  # of 256: candidates for the same picture
    look_alikes: int  # candidates an image by its blurred middle, in any pose
    look_alike_correlation: float  # of the blurred middles, from which on a pair is a candidate
    turned_search_images: int  # with more images, look-alikes are searched upright and mirrored
    copy_correlation: float  # of the aligned detail, 96 x 96, that confirms a candidate
    local_correlation: float  # the same, lower quartile of 8 x 8 blocks
    marked_copy_correlation: float  # both again, for a copy with a line or label of its own
    marked_local_correlation: float
    copy_overlap: float  # 0-1 of the picture that both images show
    member_slack: float  # how much less a member needs against its group's most linked image
    lineage_patterns: tuple[str, ...]  # regular expressions cut from a stem to find its source
    copy_patterns: tuple[str, ...]  # likewise, where that source is in the same folder
    conflicts: Literal["quarantine", "majority", "keep"]
    maximum_megapixels: float  # larger images are rejected unread
    maximum_archive_files: int  # an archive with more is refused
    maximum_archive_gigabytes: float  # unpacked; a larger archive is refused


@dataclasses.dataclass(frozen=True)
class Validate:
    """Thresholds of the Great Expectations suite."""

    minimum_images_per_class: int
    maximum_rejected_share: float  # 0-1 of all files
    maximum_quarantined_share: float  # 0-1 of all files
    maximum_conflicting_share: float  # 0-1 of all pictures: those under several labels
    minimum_subset_images_per_class: int  # in each of train, val and test
    maximum_share_error: float  # 0-1: of a subset's records, from split's wanted share


@dataclasses.dataclass(frozen=True)
class Split:
    """Protocol and shares of the subsets."""

    protocol: Literal["grouped", "random", "official"]  # random is leaky: for comparison only
    validation_share: float  # 0-1
    test_share: float  # 0-1
    folds: int  # folds of the fold column
    seed: int


@dataclasses.dataclass(frozen=True)
class Audit:
    """How far shortcuts get, and the report."""

    folds: int  # of the grouped cross-validation, >= 2
    repeats: int  # of the cross-validation, each with other folds
    permutations: int  # of labels between groups, for the p-value
    alarm_level: float  # 0-1: largest p-value of an alarm
    bootstrap_draws: int
    interval_level: float  # 0-1
    most_pictures: int  # in the cross-validation; more are thinned out at random
    conflicts_shown: int
    groups_shown: int  # the largest ones
    films_shown: int  # of each class; of one picture a quarter of that
    thumbnail_pixels: int  # longer side
    report_megabytes: float  # at most
    seed: int


@dataclasses.dataclass(frozen=True)
class Oversample:
    """Repetition of training rows."""

    method: Literal["random", "none"]
    seed: int
