"""The parameters as frozen sections; the only reader of params.yaml.

`load(Path("params.yaml"))` gives one `Params`. Missing and unknown keys, wrong types and values
outside their range raise `ParamsError`, which names all of them by their dotted paths.
Edit `conf/`, not `params.yaml`: the latter is composed from the former by

python -m knee.run.parameters --conf conf --out params.yaml

and `--explain` lists every key, with what it may be and what it does.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import json
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Literal, Self, cast

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError, model_validator
from pydantic.dataclasses import dataclass
from ruamel.yaml import YAML
from ruamel.yaml.constructor import SafeConstructor
from ruamel.yaml.error import YAMLError
from ruamel.yaml.nodes import ScalarNode

from knee.run import parameter_errors
from knee.run.errors import UserError
from knee.run.parameter_types import (
    BACKBONES,
    LARGEST_SEED,
    LARGEST_SIDE_PIXELS,
    Address,
    Auto,
    Backbones,
    BoxMillimetres,
    Candidates,
    Count,
    Deviation,
    Distilled,
    Downloads,
    Draws,
    Epochs,
    EpochsOrNone,
    FileName,
    Folds,
    Generators,
    Hosts,
    Joined,
    Layers,
    LearningRate,
    Level,
    Locators,
    Metric,
    Mixup,
    Modalities,
    Names,
    OriginPattern,
    PathText,
    PatientPattern,
    Patterns,
    Processes,
    RegisteredName,
    Seed,
    Share,
    ShareBelowOne,
    Shown,
    Weights,
)

UNSET: Final = "not_set"  # in conf/data, in place of a path that only the user knows
BACKBONE_CHANNELS: Final = 1024  # of MobileNet's feature map; Xception's has twice as many
STRICT: Final = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)


class ParamsError(UserError):
    """Keys of params.yaml are missing, unknown or have values that cannot be used."""


def about(text: str, *, ge: float | None = None, le: float | None = None) -> Any:
    """Describe a parameter, which is at least `ge` and at most `le`."""
    return Field(description=text, ge=ge, le=le)


def distilled_name(backbone: str) -> str:
    """Return the name of the net that learns from the ensemble of `backbone`."""
    return f"{backbone}_distilled"


def _check_seeds(key: str, seed: int, folds: int, repeats: int) -> None:
    """Folds are seeded with `seed` and the numbers after it."""
    if seed + folds * repeats > LARGEST_SEED + 1:
        raise ValueError(f"{key}: {seed} leaves no seeds for {folds * repeats} folds below 2^32")


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Data:
    """Which radiographs, and what their classes mean."""

    name: RegisteredName = about("part of the registered model's name")
    path: PathText = about("folder of class folders, or an archive (zip, tar) of one")
    manifest: PathText = about("what DVC hashes: data.path itself, or a manifest of that folder")
    sheet: PathText = about("CSV or Excel sheet of labels; conf/no_sheet.csv: none")
    decisions: PathText = about("a reviewer's CSV about labels; conf/no_decisions.csv: none")
    bone_masks: PathText = about("PNG masks, white is bone; conf/no_bone_masks: none")
    generators: Generators = about("[sample] where the sample is generated, else empty")
    downloads: Downloads = about("[kaggle] where the data set is downloaded, else empty")
    dataset: str = about('Kaggle\'s owner/name/versions/number, or ""')
    synthetic: bool = about("marks every result as synthetic")
    classes: Names = about("scale, least to most severe; empty: of two classes, grades or WHO")
    parts: Names = about("folders above the class folders: official subsets; empty: none")
    patient_pattern: PatientPattern = about('of the stem: groups "patient" and "side"; or ""')
    patient_placeholders: Names = about("texts in place of a patient number, beside the known ones")
    origin_pattern: OriginPattern = about('group "origin", or the name of the group; or ""')

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.path == UNSET:
            raise ValueError("path: not set: give -S data.path=/path/to/images")
        if self.manifest != self.path and (self.generators or self.downloads):
            raise ValueError(f"manifest: {self.manifest!r}: only a folder of your own can have one")
        if len(self.classes) == 1:
            raise ValueError(f"classes: {self.classes[0]!r} is the only one: give two or more")
        if self.downloads and not re.fullmatch(r"[\w.-]+/[\w.-]+(/versions/\d+)?", self.dataset):
            raise ValueError(f"dataset: {self.dataset!r} is no owner/name/versions/number")
        return self


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Sample:
    """The generator of synthetic radiographs."""

    patients: int = about("one or two images each", ge=12, le=100_000)
    size_pixels: int = about("longer side of a generated close-up", ge=96, le=LARGEST_SIDE_PIXELS)
    seed: Seed


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Locate:
    """Whole films cut into images of one knee each, before ingest."""

    locators: Locators = about("[knees] where films are cut, else empty")
    box_widths: float = about("side of a knee's square, in widths of its joint", ge=1, le=6)
    box_millimetres: BoxMillimetres = about("side where DICOM tells the scale; 0: by width")
    images: PathText = about("what ingest reads: data.path, or what locate makes of it")
    sheet: PathText = about("likewise, of data.sheet")
    manifest: PathText = about("likewise, of data.manifest")


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Ingest:
    """Files -> records table and canonical pixels."""

    image_size_pixels: int = about("side of the square image", ge=32, le=LARGEST_SIDE_PIXELS)
    fit: Literal["letterbox", "squash", "crop"] = about("how an image is made square")
    crop_borders: bool = about("cut uniform margins off before fitting")
    negatives: Literal["invert", "keep"] = about("what becomes of photographic negatives")
    hash_radius_bits: int = about("distance of candidates for copies", ge=0, le=256)
    look_alikes: int = about("candidates an image by its blurred middle in any pose", ge=1, le=256)
    look_alike_correlation: Share = about("of the blurred middles of candidates")
    turned_search_images: int = about("more are searched upright and mirrored only", ge=0, le=10**9)
    copy_correlation: Share = about("of a candidate's aligned detail, 96 x 96 pixels")
    local_correlation: Share = about("the same, lower quartile of 8 x 8 blocks")
    marked_copy_correlation: Share = about("both again, for a copy with a line or label of its own")
    marked_local_correlation: Share = about("likewise")
    copy_overlap: Share = about("of the content that both images show")
    member_slack: Share = about("less needed against a group's most linked image")
    lineage_patterns: Patterns = about("regular expressions cut from a stem to find its source")
    copy_patterns: Patterns = about("likewise, where that source is in the same folder")
    conflicts: Literal["quarantine", "majority", "keep"] = about("copies under several labels")
    body_parts: Names = about("DICOM's Body Part Examined that are taken; empty: any")
    modalities: Modalities = about("of DICOM that are taken, beside those of radiographs")
    secondary_capture: bool = about("take DICOM's secondary captures, too")
    views: Names = about("words of DICOM's View Position that are taken; empty: any")
    maximum_megapixels: float = about("larger images are rejected unread", ge=0.001, le=10_000)
    maximum_archive_files: int = about("at most", ge=1, le=10**9)
    maximum_archive_gigabytes: float = about("unpacked size, at most", ge=0.001, le=100_000)


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Validate:
    """Thresholds of the Great Expectations suite."""

    minimum_images_per_class: Count = about("of used images")
    maximum_rejected_share: Share = about("of all files")
    maximum_quarantined_share: Share = about("of all files")
    maximum_conflicting_share: Share = about("of all copy groups: those under several labels")
    maximum_patient_share: Share = about("of all images: those of one patient")
    maximum_noted_share: Share = about("of all images: those with a note of what is doubtful")
    minimum_subset_images_per_class: Count = about("in each subset")
    maximum_share_error: Share = about("of a subset's records, from the share that split asks for")


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Split:
    """Protocol and shares of the subsets."""

    protocol: Literal["grouped", "random", "official"] = about("random is leaky")
    validation_share: Level = about("of the records")
    test_share: Level = about("of the records")
    folds: Folds = about("of the fold column")
    seed: Seed
    keep: PathText = about("copy of an earlier metrics/subsets.csv; conf/no_split.csv: none")

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.validation_share + self.test_share >= 1:
            raise ValueError("validation_share + test_share leave nothing to train on")
        return self


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Intervals:
    """Bootstrap intervals of figures."""

    bootstrap_draws: Draws = about("for intervals")
    interval_level: Level = about("share of draws between the interval's ends")
    seed: Seed


@dataclass(frozen=True, kw_only=True, config=STRICT)
class RepeatedFolds(Intervals):
    """Repeated grouped cross-validation."""

    folds: Folds = about("fewer where a class has fewer groups")
    repeats: int = about("of the cross-validation, each with other folds", ge=1, le=100)

    @model_validator(mode="after")
    def _check(self) -> Self:
        _check_seeds("seed", self.seed, self.folds, self.repeats)
        return self


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Audit(RepeatedFolds):
    """How far shortcuts get, and the report."""

    permutations: int = about("of labels between groups, for the p-value", ge=1, le=100_000)
    alarm_level: Level = about("largest p-value of an alarm")
    most_pictures: int = about("copy groups at most; more are subsampled", ge=30, le=1_000_000)
    conflicts_shown: Shown = about("copy groups under several labels")
    groups_shown: Shown = about("copy groups, the largest ones")
    films_shown: Shown = about("images per class; of a copy group a quarter")
    thumbnail_pixels: int = about("longer side", ge=16, le=1024)
    report_megabytes: float = about("size of the page, at most", ge=0.01, le=1000)


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Review:
    """The page on which a person decides about doubtful labels."""

    conflicts_shown: Shown = about("copy groups under several labels")
    suspects_shown: Shown = about("images whose label out-of-fold predictions contradict")
    joins_shown: Shown = about("copies by their look, those that agree least")
    images_shown: Count = about("of a copy group")
    thumbnail_pixels: int = about("longer side", ge=16, le=1024)
    report_megabytes: float = about("size of the page, at most", ge=0.01, le=1000)


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Oversample:
    """Repetition of training rows."""

    method: Literal["random", "none"] = about("random: as often as the largest class")
    seed: Seed


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Embed:
    """Features of the frozen backbone."""

    engine: Literal["auto", "tensorflow", "openvino"] = about("auto: the fastest here")
    precision: Literal["auto", "float32", "bfloat16"] = about("auto: bfloat16 where fast")
    mirrored_view: bool = about("also of mirrored images, for the flip in training")
    augmented_views: int = about("of randomly changed images", ge=0, le=100)
    seed: Seed


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Model:
    """Backbones, how much of them is trained, and the models that are made of them."""

    backbones: Backbones = about("one model each")
    joined: Joined = about("[ensemble]: the nets of both backbones as one more model; else empty")
    distilled: Distilled = about("backbones whose ensemble teaches one net, one more model each")
    candidates: Candidates = about("what is judged: backbones, joined, BACKBONE_distilled")
    train_from: Layers = about("auto, head, all, or the first trained layer of each backbone")
    pixel_scaling: Literal["backbone", "unit"] = about("unit: 0-1, as published")

    @model_validator(mode="after")
    def _check(self) -> Self:
        if missing := set(BACKBONES if self.joined else self.distilled) - {*self.backbones}:
            raise ValueError(f"backbones: joined or distilled need {', '.join(sorted(missing))}")
        students = [distilled_name(backbone) for backbone in self.distilled]
        expected = (*self.backbones, *self.joined, *students)
        if self.candidates != expected:
            raise ValueError(f"candidates: expected [{', '.join(expected)}]")
        return self


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Head:
    """What sits on the backbone's feature map."""

    design: Literal["default", "published"] = about("published: that recipe's blocks")
    squeeze_excitation: bool = about("gates on the channels")
    squeeze_ratio: int = about("channels / width of the squeeze", ge=1, le=2048)
    projection_channels: int = about("1 x 1 convolution before attention; 0: none", ge=0, le=4096)
    attention: bool = about("self-attention over the positions of the feature map")
    attention_heads: int = about("each has channels / heads", ge=1, le=128)
    dense_units: int = about("of the hidden dense layer; 0: none", ge=0, le=65_536)
    dropout: ShareBelowOne = about("of units, in training")
    gaussian_noise: float = about("standard deviation, on pooled features; 0: none", ge=0, le=10)

    @model_validator(mode="after")
    def _check(self) -> Self:
        published = self.design == "published"
        if published and not self.dense_units:
            raise ValueError("dense_units: the published design has a dense layer, 0 is none")
        channels, heads = self.projection_channels or BACKBONE_CHANNELS, self.attention_heads
        if not published and self.attention and channels % heads:
            raise ValueError(f"attention_heads: {heads} do not divide {channels} channels")
        return self


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Augmentation:
    """Random changes of training images; never a vertical flip."""

    horizontal_flip: bool = about("mirror half of the images")
    rotation_degrees: float = about("largest, either way", ge=0, le=180)
    translation_share: ShareBelowOne = about("largest, of the side")
    zoom_share: ShareBelowOne = about("largest, either way")
    brightness: Share = about("largest shift, in shares of 255")
    contrast: Share = about("largest change of the factor 1")
    mixup: Mixup = about("concentration of the Beta distribution of shares; 0: nothing is mixed")


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Train:
    """Optimisation."""

    members: int = about("nets of an ensemble, one a fold; 1: val chooses", ge=1, le=20)
    members_seeds: int = about("nets of each fold, of other seeds", ge=1, le=20)
    epochs: Auto | Epochs = about("at most; auto: by the number of images")
    batch_size: int = about("global, over all devices", ge=1, le=4096)
    learning_rate: Auto | LearningRate = about("peak of the schedule; auto: likewise")
    schedule: Literal["constant", "cosine"] = about("after the warm-up")
    warmup_epochs: EpochsOrNone = about("of linear rise")
    weight_decay: float = about("decoupled; 0: plain Adam", ge=0, le=1)
    label_smoothing: ShareBelowOne = about("share given to all classes alike")
    soft_label_deviation: Deviation = about("in classes, of soft ordinal labels; 0: one-hot")
    probe_epochs: EpochsOrNone = about("of the head alone, before fine-tuning; 0: none")
    probe_learning_rate: LearningRate = about("of the head alone")
    early_stopping_patience: EpochsOrNone = about("epochs without a better one; 0: never stops")
    keep_epoch: Literal["auto", "best", "last"] = about("best: of the lowest validation loss")
    adapt_batch_norms: bool = about("of pretrained layers that are trained")
    class_weights: bool = about("weigh rare classes more in the loss")
    mixed_precision: Literal["none", "bfloat16", "float16"] = about("none: float32")
    devices: int = about("GPUs to use; 0: all that are visible", ge=0, le=64)
    workers: int = about("processes that train one net together; 1: the stage", ge=1, le=1024)
    seed: Seed
    augmentation: Augmentation

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.epochs != "auto" and self.warmup_epochs > self.epochs:
            raise ValueError(f"warmup_epochs: {self.warmup_epochs} of {self.epochs} epochs")
        if self.members > 1 and self.early_stopping_patience:
            raise ValueError("early_stopping_patience: members end at a common epoch: give 0")
        if self.workers > 1 and self.batch_size % self.workers:
            raise ValueError(f"workers: {self.workers} do not divide batch_size {self.batch_size}")
        if self.workers > 1 and self.devices > 1:
            raise ValueError("devices: each of several workers has one GPU: give 0")
        return self


@dataclass(frozen=True, kw_only=True, config=STRICT)
class CrossValidate(RepeatedFolds):
    """Repeated grouped folds."""

    subset: Literal["all", "development"] = about("development: without the test subset")
    validation_share: Level = about("of a fold's training records: they choose the epoch")
    whole_backbone: bool = about("also where it is trained, folds x repeats times")
    heads: dict[FileName, Head] = about("further heads, by name, to compare in the same folds")


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Caution:
    """What a trained model knows about its own uncertainty, from the validation subset."""

    calibration: Literal["temperature", "none"] = about("of the probabilities")
    set_level: Level = about("frequency with which a prediction set is to hold the true class")
    familiar_quantile: Level = about("of validation images that are not called unlike the others")


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Evaluate(Intervals):
    """Intervals and contact sheets."""

    worst_mistakes: Shown = about("images on the contact sheet")
    explained_images: Shown = about("images on the Grad-CAM panel")
    minimum_subgroup_groups: int = about("fewer are not estimated", ge=2, le=1_000_000)
    strangers_per_kind: int = about("non-radiographs, to try the OOD score", ge=0, le=1000)


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Compare(Intervals):
    """Models beside baselines."""

    metric: Literal["macro_f1", "balanced_accuracy", "accuracy"] = about("of the differences")
    bootstrap_draws: Draws = about("p is at least 2 / draws")
    minimum_origin_groups: int = about("fewer are not compared", ge=2, le=1_000_000)


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Explain(Intervals):
    """Explanations of test images, and the checks of them."""

    images: Count = about("test images that are explained and measured")
    images_shown: Shown = about("of each class, on the sheet of maps")
    patch_share: float = about("side of the gray patch / of the image", ge=0.01, le=1)
    stride_share: float = about("step of the patch / side of the image", ge=0.01, le=1)
    most_forward_passes: int = about("of occluded images, at most", ge=1, le=10**9)


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Register:
    """Choice and promotion."""

    model_name: RegisteredName = about("in MLflow's registry")
    selection_metric: Metric = about("of out-of-fold predictions; of val for one net")
    minimum_common_groups: Count = about("test groups shared with the champion, to compare at all")
    minimum_probability: Share = about("of being better than the champion, and than each shortcut")
    maximum_calibration_error: Share = about("lower end of its interval, at most")
    cheaper_within: Share = about("of the best's figure: the smaller net is registered")
    minimum_out_of_distribution_auc: Share = about("of drawn non-radiographs; 0.5 is chance")
    bootstrap_draws: Draws = about("for intervals")
    seed: Seed


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Execution:
    """Where films are decoded, copies registered, nets trained; no result depends on it."""

    engine: Literal["local", "ray"] = about("local: this machine; ray: the nodes of a cluster")
    processes: Auto | Processes = about("that train folds and members here; 0: the stage's own")
    address: Address = about("of the cluster's head; auto: what RAY_ADDRESS says")
    cpus: int = about("a task", ge=1, le=4096)
    gpus: int = about("a task", ge=0, le=64)
    files: Literal["sent", "shared"] = about("shared: the nodes open the same paths")
    retries: int = about("of a task whose worker was lost", ge=0, le=100)
    start_seconds: int = about("to wait for the first node, or all workers", ge=1, le=86_400)
    trusted_network: bool = about("data may travel without TLS")
    launcher: Literal["local", "ssh", "srun"] = about("how train.workers are started")
    hosts: Hosts = about("of the workers by ssh, this machine first")

    @property
    def nodes_have_files(self) -> bool:
        """Whether other machines compute, which open the same paths as this one."""
        return self.engine != "local" and self.files == "shared"


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Params:
    """The whole of params.yaml."""

    weights: Weights = about("none, imagenet or a folder with <backbone>.h5")
    data: Data
    sample: Sample
    locate: Locate
    ingest: Ingest
    validate: Validate
    split: Split
    audit: Audit
    review: Review
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
    execution: Execution

    @model_validator(mode="after")
    def _check(self) -> Self:
        folds = self.cross_validate
        _check_seeds("train.seed", self.train.seed, folds.folds, folds.repeats)
        _check_seeds("train.seed", self.train.seed, self.train.members, self.train.members_seeds)
        if (self.model.joined or self.model.distilled) and not self.is_ensemble:
            raise ValueError(
                "model.joined, model.distilled: they are made of ensembles: give train.members "
                "above 1, and a split that is not random"
            )
        return self

    @model_validator(mode="after")
    def _check_workers(self) -> Self:
        workers, places = self.train.workers, self.execution
        if workers == 1:
            return self
        if self.is_ensemble:
            raise ValueError(
                "train.workers: members of an ensemble are trained one a process: give "
                "train.members=1 (and model.joined, model.distilled empty), or train.workers=1"
            )
        if not places.trusted_network:
            raise ValueError(
                "execution.trusted_network: workers answer whoever reaches their ports, without "
                "TLS: give true in a network of your own, or train.workers=1"
            )
        if places.hosts and places.launcher != "ssh":
            raise ValueError(
                f"execution.hosts: execution.launcher={places.launcher} starts no worker there: "
                "give execution.launcher=ssh, or leave hosts out"
            )
        if places.launcher == "ssh" and len(places.hosts) != workers:
            raise ValueError(
                f"execution.hosts: {len(places.hosts)} of train.workers={workers}: give one for "
                "each worker, this machine first"
            )
        return self

    @property
    def is_ensemble(self) -> bool:
        """Whether several nets are trained: folds of a leaky split would not be leaky as it is."""
        return self.train.members > 1 and self.split.protocol != "random"


def load(path: Path) -> Params:
    """Read and check `path`.

    Raises:
        ParamsError: it names every wrong key by its dotted path.
    """
    try:
        return _of_text(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ParamsError(f"{path} does not exist: run from the project's root") from error
    except (YAMLError, UnicodeDecodeError) as error:
        raise ParamsError(f"{path} is not YAML: {error}") from error


@functools.lru_cache(maxsize=8)
def _of_text(text: str) -> Params:
    """The parameters in `text`: to read it takes longer than many a stage's own work."""
    return check(_yaml().load(text))


class _Constructor(SafeConstructor):
    """1e3 is a whole number, too, where one is wanted."""

    def whole_or_real(self, node: ScalarNode) -> float:
        """The number that `node` is, whole if it is written with an exponent and has no rest."""
        number = float(self.construct_yaml_float(node))
        return int(number) if "e" in node.value.lower() and number.is_integer() else number


_Constructor.add_constructor("tag:yaml.org,2002:float", _Constructor.whole_or_real)


def _yaml() -> YAML:
    """Reader of YAML 1.2, as DVC reads it: 1e-3 is a number, 012 is 12, a key twice an error."""
    reader = YAML(typ="safe", pure=True)
    reader.Constructor = _Constructor
    return reader


def check(values: Any) -> Params:
    """Check what a params.yaml holds; raise `ParamsError` as `load` does."""
    try:
        # As JSON: there even strict types take lists for tuples and mappings for sections.
        return TypeAdapter(Params).validate_json(json.dumps(values, default=str))
    except ValidationError as error:
        found = error.errors()
        if len(found) > 1:  # a list whose entries are wrong counts as too short, too
            found = [one for one in found if one["type"] != "too_short" or not one["input"]]
        found.sort(key=lambda one: one["type"] == "missing")  # a misspelt key explains it
        # A value that is of no type of a union is an error of each.
        wrong = dict.fromkeys(parameter_errors.in_words(one, known_keys()) for one in found)
        raise ParamsError("\n  ".join(wrong)) from error
    except (TypeError, ValueError) as error:  # keys that are no text, mappings within themselves
        raise ParamsError(f"params.yaml: {error}") from error


def with_values(params: Params, section: str, values: Mapping[str, Any]) -> Params:
    """Return `params` with other values in a section; raise `ParamsError` as `load` does."""
    whole = dataclasses.asdict(params)
    return check({**whole, section: {**whole[section], **values}})


@functools.cache
def known_keys() -> dict[str, Mapping[str, Any]]:
    """Every dotted key with its JSON schema."""
    return parameter_errors.keys(TypeAdapter(Params).json_schema())


def composed(conf: Path, overrides: Sequence[str] = ()) -> dict[str, Any]:
    """Return the Hydra configuration in the folder `conf`, with `overrides` of its defaults."""
    from hydra import compose as hydra_compose  # only composing needs it
    from hydra import initialize_config_dir
    from omegaconf import OmegaConf

    with initialize_config_dir(str(conf.resolve()), version_base=None):
        made = hydra_compose("config", overrides=list(overrides))
    return cast(dict[str, Any], OmegaConf.to_container(made, resolve=True))


def compose(conf: Path, out: Path) -> None:
    """Write the defaults of the Hydra configuration in the folder `conf` to `out`."""
    from omegaconf import OmegaConf

    out.write_text(OmegaConf.to_yaml(OmegaConf.create(composed(conf))), encoding="utf-8")


def explain() -> str:
    """A line per parameter: key, what it may be, what it does."""
    return "".join(
        f"{key:48} {parameter_errors.allowed(schema):50} {schema['description']}\n"
        for key, schema in known_keys().items()
        if "description" in schema
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Compose params.yaml, or explain it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--conf", type=Path, help="folder of the configuration; default: none")
    parser.add_argument("--out", type=Path, help="file to compose; default: none")
    explain_help = "list every key, what it may be and what it does; default: off"
    parser.add_argument("--explain", action="store_true", help=explain_help)
    arguments = parser.parse_args(argv)
    if arguments.explain:
        sys.stdout.write(explain())
    elif arguments.conf and arguments.out:
        compose(arguments.conf, arguments.out)
    else:
        parser.error("give --conf and --out, or --explain")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
