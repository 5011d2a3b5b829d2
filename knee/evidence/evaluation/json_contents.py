"""Contents of the JSON files that later stages read, key by key.

Not every key is listed: figures have their names in `scores.HEADLINE`, and are None where they are
not defined.
"""

from __future__ import annotations

from typing import Any, NotRequired, TypedDict

from knee.statistics.bootstrap import Interval


class Preprocessing(TypedDict):
    """Preprocessing of a training's images; fit: letterbox | squash | crop."""

    side_pixels: int
    fit: Any
    crop_borders: bool


class Locate(TypedDict):
    """How a training's images were cut from whole films."""

    box_widths: float
    box_millimetres: NotRequired[float]  # not in records of earlier versions
    weights_sha256: str  # of knees.npz beside model.keras, which found the knees


class Dicom(TypedDict):
    """Which DICOM images were taken as radiographs: reading.canonical_image.DicomRule."""

    body_parts: list[str]
    modalities: list[str]
    secondary_capture: bool
    views: NotRequired[list[str]]  # not in records of earlier versions


class TrainingRecord(TypedDict, total=False):
    """training.json: what a training was made from, and the uncertainty of its model."""

    backbone: str
    best_epoch: int
    classes: list[str]
    data: str
    data_fingerprint: str  # SHA-256 of the records table
    dicom: Dicom
    execution: str
    locate: Locate  # only where images were cut from whole films
    made_of: dict[str, str]  # model_sha256 of the models that it was made of, by their names
    model_sha256: str
    parameters: dict[str, Any]  # flat, dotted keys
    patients: dict[str, int]  # of known_patients.patient_counts
    preprocessing: Preprocessing
    record_sha256: str  # of all other values
    split_fingerprint: str  # SHA-256 of the split table
    split_protocol: str  # grouped | official | random
    synthetic: bool
    synthetic_images: list[str]  # digests of their canonical pixels; only of synthetic ones
    temperature: float
    typical_image: str  # the median image that it learned from, as reading.negatives writes it
    weights: int  # numbers that the net consists of
    calibration: dict[str, Any]
    conformal: dict[str, Any]
    novelty: dict[str, Any]


class SplitMetrics(TypedDict):
    """The keys that are read from split.json."""

    protocol: str
    leaky: bool
    leakage: float
    patients: dict[str, int]  # of known_patients.patient_counts


class EvaluationReport(TypedDict, total=False):
    """test.json, and the figures that cross_validation.json has in common with it."""

    backbone: str
    synthetic: bool
    split_protocol: str
    leaky: bool
    leakage: float
    patients: dict[str, int]
    records: int
    groups: int
    accuracy: float | None
    macro_f1: float | None
    expected_calibration_error: float | None
    confidence_interval: dict[str, Interval]  # by figure
    per_class: dict[str, dict[str, Any]]  # precision, recall, f1, support by class
    subgroups: dict[str, Any]  # of `subgroups.subgroups`
    t_score_error: dict[str, Any]  # of `t_score_errors`, where T-scores are known
    calibration: dict[str, Any]
    conformal: dict[str, Any] | None
    out_of_distribution: dict[str, Any] | None


class ComparisonReport(TypedDict):
    """comparison.json; evidence.<cross_validation | test> as in `models_and_baselines`."""

    synthetic: bool
    split_protocol: str
    leaky: bool
    patients: dict[str, int]
    metric: str
    evidence: dict[str, dict[str, Any]]


class Leakage(TypedDict):
    """Shares, 0-1, of test images with a relative in training, by the split."""

    random: float | None  # the published protocol; None where a class is too small for it
    in_use: float


class AuditFacts(TypedDict, total=False):
    """The keys of audit.json that a gate reads."""

    leakage: Leakage
    patients: dict[str, int]
