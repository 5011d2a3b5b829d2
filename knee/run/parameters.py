"""params.yaml -> frozen dataclasses; the only reader of that file.

`load(Path("params.yaml"))` gives one `Params`. A missing key, an unknown key, a value of the
wrong type or outside its range raises `ParamsError`, which names the key by its dotted path.
Edit `conf/`, not `params.yaml`: the latter is composed from the former by

python -m knee.run.parameters --conf conf --out params.yaml
"""

from __future__ import annotations

import argparse
import dataclasses
import re
import typing
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar

import yaml

from knee.run.errors import UserError


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


@dataclasses.dataclass(frozen=True)
class Embed:
    """Features of the frozen part."""

    engine: Literal["auto", "tensorflow", "openvino"]  # auto: TensorFlow on GPUs, else OpenVINO
    precision: Literal["auto", "float32", "bfloat16"]  # auto: bfloat16 in OpenVINO where it is fast
    mirrored_view: bool  # also of the mirrored images, for the horizontal flip in training
    augmented_views: int  # of randomly changed images, for training to draw from
    seed: int  # of the augmented views


@dataclasses.dataclass(frozen=True)
class Model:
    """Backbones, and how much of them is trained."""

    backbones: tuple[str, ...]
    train_from: str  # auto | head | all | name of the first trained layer, of each backbone
    pixel_scaling: Literal["backbone", "unit"]  # unit: 0-1, as in the published recipe


@dataclasses.dataclass(frozen=True)
class Head:
    """What sits on the backbone's feature map."""

    design: Literal["default", "published"]
    squeeze_excitation: bool
    squeeze_ratio: int
    projection_channels: int  # 1 x 1 convolution before attention; 0: none
    attention: bool
    attention_heads: int
    dense_units: int  # 0: none
    dropout: float  # 0-1
    gaussian_noise: float  # standard deviation, on pooled features; 0: none


@dataclasses.dataclass(frozen=True)
class Augmentation:
    """Random changes of training images; never a vertical flip."""

    horizontal_flip: bool
    rotation_degrees: float  # largest, either way
    translation_share: float  # largest, of the side
    zoom_share: float  # largest, either way
    brightness: float  # largest shift, in shares of 255
    contrast: float  # largest change of the factor 1
    mixup: float  # 0-1: concentration of the Beta distribution of shares; 0: nothing is mixed


@dataclasses.dataclass(frozen=True)
class Train:
    """Optimisation."""

    epochs: int
    batch_size: int  # global, over all devices
    learning_rate: float
    schedule: Literal["constant", "cosine"]
    warmup_epochs: int
    weight_decay: float  # decoupled; 0 is plain Adam
    label_smoothing: float  # 0-1
    soft_label_deviation: float  # classes: of soft ordinal labels; 0: one-hot
    probe_epochs: int  # of the head alone, before pretrained layers are trained; 0: none
    probe_learning_rate: float
    early_stopping_patience: int  # epochs; 0: never stops early
    keep_epoch: Literal["best", "last"]  # best: of the lowest validation loss
    adapt_batch_norms: bool  # statistics and scales, of pretrained layers that are trained
    class_weights: bool
    mixed_precision: Literal["none", "bfloat16", "float16"]
    devices: int  # GPUs to use; 0: all that are visible
    seed: int
    augmentation: Augmentation


@dataclasses.dataclass(frozen=True)
class CrossValidate:
    """Repeated grouped folds."""

    folds: int  # >= 2; fewer where a class has fewer groups
    repeats: int  # each with other folds
    subset: Literal["all", "development"]  # development: without the test subset
    validation_share: float  # 0-1 of a fold's training records: they choose the epoch
    whole_backbone: bool  # also where that is trained: folds x repeats full trainings
    heads: dict[str, Head]  # other heads, by name, trained in the same folds for compare
    bootstrap_draws: int
    interval_level: float  # 0-1
    seed: int  # of folds, validation parts and draws; audit's: the same folds as its shortcuts


@dataclasses.dataclass(frozen=True)
class Caution:
    """What a trained model is to know about its own limits, from the validation subset."""

    calibration: Literal["temperature", "none"]
    set_level: float  # 0-1: frequency with which a prediction set is to hold the true class
    familiar_quantile: float  # 0-1 of validation images that are not called unlike the others


@dataclasses.dataclass(frozen=True)
class Evaluate:
    """Intervals and pictures."""

    bootstrap_draws: int
    interval_level: float  # 0-1
    worst_mistakes: int  # images on the contact sheet
    explained_images: int  # images on the Grad-CAM panel
    strangers_per_kind: int  # non-radiographs of each kind that unlikeness is tried on; 0: none
    seed: int


@dataclasses.dataclass(frozen=True)
class Compare:
    """Models beside baselines."""

    metric: Literal["macro_f1", "balanced_accuracy", "accuracy"]  # of the differences
    bootstrap_draws: int
    interval_level: float  # 0-1
    minimum_origin_groups: int  # fewer are not compared within an origin
    seed: int


@dataclasses.dataclass(frozen=True)
class Explain:
    """Explanations of test images, and the checks of them."""

    images: int  # test images that are explained and measured
    images_shown: int  # of each class, on the picture
    patch_share: float  # side of the gray patch / side of the image, above 0 to 1
    stride_share: float  # distance of its positions / side of the image, above 0 to 1
    most_forward_passes: int  # of images through the backbone, for occlusion
    bootstrap_draws: int
    interval_level: float  # 0-1
    seed: int


@dataclasses.dataclass(frozen=True)
class Register:
    """Choice and promotion."""

    model_name: str
    selection_metric: str  # of the validation subset, larger is better
    minimum_common_groups: int  # test groups shared with the champion, to compare at all
    minimum_probability: float  # 0-1: of being better than the champion, and than each shortcut
    maximum_calibration_error: float  # 0-1: the lower end of its interval, at most
    bootstrap_draws: int
    seed: int


@dataclasses.dataclass(frozen=True)
class Params:
    """The whole of params.yaml."""

    weights: str  # none | imagenet | a folder with <backbone>.h5
    data: Data
    sample: Sample
    ingest: Ingest
    validate: Validate
    split: Split
    audit: Audit
    oversample: Oversample
    embed: Embed
    model: Model
    head: Head
    train: Train
    cross_validate: CrossValidate
    caution: Caution
    evaluate: Evaluate
    explain: Explain
    compare: Compare
    register: Register


Section = TypeVar("Section")


class ParamsError(UserError):
    """A key of params.yaml is missing, unknown or has a value that cannot be used."""


SHARES = (
    "ingest.copy_correlation",
    "ingest.local_correlation",
    "ingest.look_alike_correlation",
    "ingest.marked_copy_correlation",
    "ingest.marked_local_correlation",
    "ingest.copy_overlap",
    "ingest.member_slack",
    "validate.maximum_rejected_share",
    "validate.maximum_quarantined_share",
    "validate.maximum_conflicting_share",
    "validate.maximum_share_error",
    "audit.alarm_level",
    "audit.interval_level",
    "split.validation_share",
    "split.test_share",
    "head.dropout",
    "train.label_smoothing",
    "train.augmentation.mixup",
    "caution.set_level",
    "caution.familiar_quantile",
    "evaluate.interval_level",
    "compare.interval_level",
    "register.minimum_probability",
    "register.maximum_calibration_error",
    "cross_validate.interval_level",
    "cross_validate.validation_share",
    "explain.patch_share",
    "explain.stride_share",
    "explain.interval_level",
)
POSITIVE = (
    "sample.patients",
    "sample.size_pixels",
    "ingest.image_size_pixels",
    "ingest.look_alikes",
    "ingest.maximum_megapixels",
    "ingest.maximum_archive_files",
    "ingest.maximum_archive_gigabytes",
    "split.folds",
    "audit.folds",
    "audit.repeats",
    "audit.permutations",
    "audit.bootstrap_draws",
    "audit.most_pictures",
    "audit.thumbnail_pixels",
    "audit.report_megabytes",
    "head.squeeze_ratio",
    "head.attention_heads",
    "train.epochs",
    "train.batch_size",
    "train.learning_rate",
    "evaluate.bootstrap_draws",
    "compare.bootstrap_draws",
    "register.bootstrap_draws",
    "cross_validate.bootstrap_draws",
    "cross_validate.folds",
    "cross_validate.repeats",
    "explain.images",
    "explain.images_shown",
    "explain.patch_share",
    "explain.stride_share",
    "explain.most_forward_passes",
    "explain.bootstrap_draws",
)


def load(path: Path) -> Params:
    """Read and check `path`; raise `ParamsError` with the dotted path of what is wrong."""
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ParamsError(f"{path} does not exist: run from the project's root") from error
    except yaml.YAMLError as error:
        raise ParamsError(f"{path} is not YAML: {error}") from error
    params = _build(Params, values, "")
    _check_ranges(params)
    return params


def compose(conf: Path, out: Path) -> None:
    """Write the defaults of the Hydra configuration in the folder `conf` to `out`."""
    from hydra import compose as hydra_compose  # only composing needs it
    from hydra import initialize_config_dir
    from omegaconf import OmegaConf

    with initialize_config_dir(str(conf.resolve()), version_base=None):
        text = OmegaConf.to_yaml(hydra_compose("config"), resolve=True)
    out.write_text(text, encoding="utf-8")


def as_dictionary(section: Any) -> dict[str, Any]:
    """A section as plain values, for records and MLflow."""
    return dataclasses.asdict(section)


def _build(section: type[Section], values: Any, prefix: str) -> Section:
    if not isinstance(values, dict):
        raise ParamsError(f"{prefix or 'params.yaml'}: expected a mapping, found {values!r}")
    hints = typing.get_type_hints(section)
    for unknown in sorted(set(values) - set(hints), key=str):
        raise ParamsError(f"unknown key {_join(prefix, str(unknown))}; known: {', '.join(hints)}")
    for missing in [name for name in hints if name not in values]:
        raise ParamsError(f"missing key {_join(prefix, missing)}")
    return section(
        **{name: _convert(hint, values[name], _join(prefix, name)) for name, hint in hints.items()}
    )


def _convert(hint: Any, value: Any, key: str) -> Any:
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return _build(hint, value, key)
    origin = typing.get_origin(hint)
    if origin is Literal:
        if value not in typing.get_args(hint):
            raise ParamsError(f"{key}: {value!r} is none of {', '.join(typing.get_args(hint))}")
        return value
    if origin is tuple:
        if not isinstance(value, list):
            raise ParamsError(f"{key}: expected a list, found {value!r}")
        return tuple(_convert(typing.get_args(hint)[0], item, key) for item in value)
    if origin is dict:
        if not isinstance(value, dict):
            raise ParamsError(f"{key}: expected a mapping, found {value!r}")
        inner = typing.get_args(hint)[1]
        return {_name(one, key): _convert(inner, value[one], f"{key}.{one}") for one in value}
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if type(value) is not hint:
        raise ParamsError(f"{key}: expected {hint.__name__}, found {value!r}")
    return value


def _name(name: Any, key: str) -> str:
    """`name` if it can be part of a file's name."""
    if not (isinstance(name, str) and re.fullmatch(r"\w[\w-]{0,63}", name)):
        raise ParamsError(f"{key}: {name!r} is no name: use letters, digits, _ and -")
    return name


def _check_ranges(params: Params) -> None:
    for key in SHARES:
        if not 0 <= _get(params, key) <= 1:
            raise ParamsError(f"{key}: {_get(params, key)} is outside 0-1")
    for key in POSITIVE:
        if _get(params, key) <= 0:
            raise ParamsError(f"{key}: {_get(params, key)} is not positive")
    if params.split.validation_share + params.split.test_share >= 1:
        raise ParamsError("split.validation_share + split.test_share leave nothing to train on")
    if not params.model.backbones:
        raise ParamsError("model.backbones is empty: name at least one backbone")


def _get(params: Params, key: str) -> Any:
    value: Any = params
    for part in key.split("."):
        value = getattr(value, part)
    return value


def _join(prefix: str, name: str) -> str:
    return f"{prefix}.{name}" if prefix else name


def main(argv: Sequence[str] | None = None) -> int:
    """Compose params.yaml."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--conf", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args(argv)
    compose(arguments.conf, arguments.out)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
