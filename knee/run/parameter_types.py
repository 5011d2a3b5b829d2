"""Types of single parameters: what a value may be, wherever it stands in params.yaml.

A check returns the value or raises `ValueError` with a reason, which the message puts behind the
key and the value.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema

from knee.run import messages

BACKBONES: Final = ("mobilenet", "xception")  # of knee.classifier.net.backbones
METRICS: Final = (  # those of knee.statistics.scores of which larger is better
    "accuracy",
    "balanced_accuracy",
    "macro_f1",
    "weighted_f1",
    "quadratic_kappa",
    "median_class_accuracy",
    "median_class_kappa",
    "expected_class_kappa",
    "macro_auc",
)
LARGEST_SEED: Final = 2**32 - 1  # of NumPy, scikit-learn and TensorFlow
LARGEST_SIDE_PIXELS: Final = 4096
CONTROL: Final = r"\x00-\x1f\x7f-\x9f\u2028\u2029"
NAME: Final = rf"[^\s\"'|/\\{CONTROL}]+( +[^\s\"'|/\\{CONTROL}]+)*"
PATH: Final = (
    rf"(?!\?\?\?$|give -S )[^~\s\"`$\\{CONTROL}]([^\"`$\\{CONTROL}]*[^\s\"`$\\{CONTROL}])?"
)


def matching(pattern: str, reason: str) -> AfterValidator:
    """Check for text that matches `pattern` as a whole."""

    def check(text: str) -> str:
        if not re.fullmatch(pattern, text):
            raise ValueError(reason)
        return text

    return AfterValidator(check)


def member(names: tuple[str, ...]) -> AfterValidator:
    """Check for one of `names`, of letters and underscores."""
    return matching("|".join(names), f"is none of {', '.join(names)}")


def zero_or(least: float) -> AfterValidator:
    """Check for 0, which switches something off, or a number large enough to calculate with."""

    def check(number: float) -> float:
        if 0 < number < least:
            raise ValueError(f"is neither 0 nor at least {least}")
        return number

    return AfterValidator(check)


def expression(text: str) -> str:
    """Check a regular expression."""
    try:
        re.compile(text)
    except (re.error, OverflowError, RecursionError) as error:
        raise ValueError(f"is no regular expression: {error}") from error
    return text


def patient_expression(text: str) -> str:
    """Check an expression that tells patients."""
    names = set(re.compile(text).groupindex)
    if text and "patient" not in names:
        raise ValueError("has no group (?P<patient>...)")
    if unread := sorted(names - {"patient", "side"}):
        raise ValueError(f"has a group {unread[0]!r}: only patient and side are read")
    return text


def origin_expression(text: str) -> str:
    """Check an expression that tells origins."""
    if text and not re.compile(text).groupindex:
        raise ValueError("has no named group: (?P<origin>...), or one named like the origin")
    return text


def distinct(entries: tuple[Any, ...]) -> tuple[Any, ...]:
    """Check that no entry stands there twice, whatever its case, blanks and Unicode form."""
    seen: set[str] = set()
    for entry in entries:
        key = messages.folded(entry)
        if key in seen:
            raise ValueError(f"has {entry!r} twice")
        seen.add(key)
    return entries


def as_name(entry: Any) -> Any:
    """Return a text in Unicode's form NFC, and a whole number, as YAML reads a class 0, as text."""
    entry = str(entry) if type(entry) is int else entry
    return unicodedata.normalize("NFC", entry) if isinstance(entry, str) else entry


Address = Annotated[
    str, matching(r"auto|[\w.:\[\]-]+:\d{1,5}", "is neither auto nor HOST:PORT of a cluster's head")
]
Auto = Literal["auto"]  # of presets
Backbone = Annotated[str, member(BACKBONES), WithJsonSchema({"enum": BACKBONES})]
Distinct = AfterValidator(distinct)
Expression = Annotated[str, AfterValidator(expression)]
FileName = Annotated[str, matching(r"\w[\w-]{0,63}", "is no name: use letters, digits, _ and -")]
Host = Annotated[str, matching(r"[A-Za-z0-9][\w.:-]{0,252}", "is no name or address of a machine")]
Metric = Annotated[str, member(METRICS), WithJsonSchema({"enum": METRICS})]
Layers = Annotated[
    str,
    matching(
        r"auto|head|all|(?!(?i:auto|head|all)$)[\w./-]+( [\w./-]+)*",
        "is none of auto, head, all, or names of layers with blanks between them",
    ),
]
Name = Annotated[
    str,
    BeforeValidator(as_name),
    matching(NAME, "is no name: it is empty, or has quotes, |, /, \\ or ends blank"),
]
PathText = Annotated[
    str,
    matching(
        PATH,
        "is no path that dvc.yaml can pass on: give one without ~, quotes, $, \\ and blanks at its "
        "ends, for example -S data.path=/path/to/images",
    ),
]
RegisteredName = Annotated[
    str,
    matching(
        r"\w([\w .-]{0,198}\w)?", "is no name: use letters, digits, _, -, . and blanks inside"
    ),
]
Weights = Annotated[
    str,
    matching(
        rf"none|imagenet|(?!(?i:none|imagenet)$){PATH}",
        "is none of none, imagenet, or the path of a folder with <backbone>.h5",
    ),
]
Backbones = Annotated[tuple[Backbone, ...], Field(min_length=1), Distinct]
Candidates = Annotated[tuple[FileName, ...], Distinct]
Distilled = Annotated[tuple[Backbone, ...], Distinct]
Downloads = Annotated[tuple[Literal["kaggle"], ...], Distinct]
Generators = Annotated[tuple[Literal["sample"], ...], Distinct]
Hosts = Annotated[tuple[Host, ...], Field(max_length=1024)]
Joined = Annotated[tuple[Literal["ensemble"], ...], Distinct]
Locators = Annotated[tuple[Literal["knees"], ...], Distinct]
Modalities = Annotated[
    tuple[Annotated[str, matching(r"[A-Z0-9]{2,16}", "is no modality of DICOM, such as XA")], ...],
    Distinct,
]
Names = Annotated[tuple[Name, ...], Distinct]
OriginPattern = Annotated[Expression, AfterValidator(origin_expression)]
PatientPattern = Annotated[Expression, AfterValidator(patient_expression)]
Patterns = Annotated[tuple[Annotated[Expression, Field(min_length=1)], ...], Distinct]

BoxMillimetres = Annotated[float, Field(ge=0, le=500), zero_or(80)]
Count = Annotated[int, Field(ge=1, le=1_000_000)]
Deviation = Annotated[float, Field(ge=0, le=10), zero_or(0.05)]
Draws = Annotated[int, Field(ge=2, le=1_000_000)]
Epochs = Annotated[int, Field(ge=1, le=10_000)]
EpochsOrNone = Annotated[int, Field(ge=0, le=10_000)]
Folds = Annotated[int, Field(ge=2, le=100)]
LearningRate = Annotated[float, Field(ge=1e-8, le=1)]
Level = Annotated[float, Field(gt=0, lt=1)]
Mixup = Annotated[float, Field(ge=0, le=1), zero_or(0.01)]
Processes = Annotated[int, Field(ge=0, le=1024)]
Seed = Annotated[int, Field(ge=0, le=LARGEST_SEED, description="of the random numbers")]
Share = Annotated[float, Field(ge=0, le=1)]
ShareBelowOne = Annotated[float, Field(ge=0, lt=1)]
Shown = Annotated[int, Field(ge=1, le=500)]
