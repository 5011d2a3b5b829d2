"""The report of the audit: one self-contained HTML page, with and without file names.

File names may name patients: the page that leaves the machine calls files by their record's number.
Neither page shows a patient's hash.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from knee.audit import audit_charts, audit_pictures
from knee.drawing.html import percent, render
from knee.records import known_patients
from knee.records.records_table import USED, reasons
from knee.storage.arrays import PixelRows

MEGABYTE: Final = 1_000_000
UNFOLDED: Final = 12  # radiographs under several labels that are seen without a click
REASONS: Final = 100  # rows of the table
LONGEST_NAME: Final = 120  # letters; of a longer name the end is shown
COPIES_SHARE: Final = 1 / 4  # images shown of a copy group, per image shown of a class

SHORTCUTS: Final = {
    "majority": ("Largest class", "Nothing: always the most frequent class"),
    "metadata": ("File metadata", "Size, format, bits, compression, borders; never a pixel"),
    "border": ("Outer ring", "The outer eighth on each side; the inside is black"),
    "nearest_neighbour": ("Nearest neighbour", "The most similar image at 32 x 32 pixels"),
    "origin": ("Origin", "Which hospital, device or collection it comes from"),
}


@dataclass(frozen=True)
class Limits:
    """How much the report shows."""

    conflicts: int  # copy groups under several labels
    groups: int  # copy groups with most files
    images: int  # of each class; of a copy group a quarter of that, and two or more
    thumbnail_pixels: int  # longer side
    megabytes: float  # of the whole page


@dataclass(frozen=True)
class Subject:
    """The audited data, and what the audit found."""

    records: pd.DataFrame  # the records table
    originals: npt.NDArray[np.bool_]  # (records,) False for copies by their file names
    kept: pd.DataFrame  # one used record of each copy group
    pixels: PixelRows  # (rows, side, side), canonical
    facts: Mapping[str, Any]  # the content of audit.json
    level: float  # of the intervals, 0-1
    alarm_level: float  # largest p-value of an alarm
    seed: int  # of the images drawn for the montages
    data_set: str  # its name
    path: str  # of the images, which only the page with names shows
    date: str  # of the audit, likewise


@dataclass(frozen=True)
class Bar:
    """A shortcut's bar: its name, what it sees, and its figures as in audit.json."""

    title: str
    sees: str
    figures: Mapping[str, Any]


def pages(subject: Subject, limits: Limits) -> tuple[str, str]:
    """Return the report with file names, and the one without, which may leave the machine."""
    facts, records = subject.facts, subject.records
    images = records.assign(derived=~subject.originals)
    images = images[images["pixel_row"] >= 0]
    most_bytes = int(limits.megabytes * MEGABYTE)
    thumbnails = audit_pictures.Thumbnails(subject.pixels, limits.thumbnail_pixels, most_bytes)
    most = max(2, int(limits.images * COPIES_SHARE))
    bars = [
        Bar(*SHORTCUTS[name], figures)
        for name, figures in facts["shortcuts"].items()
        if figures["balanced_accuracy"] is not None
    ]
    shown = {
        "facts": facts,
        "synthetic": facts["synthetic"],
        "leaky": facts["split_protocol"] == "random",
        "caveat": known_patients.caveat(facts["patients"]),
        "conflicts": audit_pictures.conflicts(images, thumbnails, limits.conflicts, most),
        "unfolded": UNFOLDED,
        "largest": audit_pictures.largest(images, thumbnails, limits.groups, most),
        "montages": audit_pictures.montages(subject.kept, thumbnails, limits.images, subject.seed),
        "left_out": thumbnails.left_out,
        "shown": bars,
        "rows": [_row(bar) for bar in bars],
        "data_set": subject.data_set,
        "path": subject.path,
        "date": subject.date,
        "best": max(
            (bar for bar in bars if bar.title != "Nearest neighbour"),  # which sees the joint
            key=lambda bar: bar.figures["balanced_accuracy"],
            default=None,
        ),
        "level": f"{100 * subject.level:g} %",
        "alarm_level": subject.alarm_level,
        "distributions": audit_charts.distributions(subject.kept, subject.pixels),
        "reasons_shown": REASONS,
        "labels": sorted({label for row in facts["origins"].values() for label in row}),
    }
    numbers = {record: f"record {record}" for record in images["record"].tolist()}
    sources = dict(zip(numbers, map(_source, images.itertuples()), strict=True))
    without, page = _without_names(records), "audit/audit_report.html.j2"
    return (
        render(
            page, **shown, home="index.html", named=True, names=sources, reasons=reasons(records)
        ),
        render(page, **shown, named=False, names=numbers, reasons=reasons(without)),
    )


def _row(bar: Bar) -> dict[str, Any]:
    """Return a bar as the chart draws it."""
    alarm, value = bar.figures["alarm"], bar.figures["balanced_accuracy"]
    return {
        "title": bar.title,
        "value": value,
        **bar.figures["confidence_interval"]["balanced_accuracy"],
        "text": percent(value),
        "note": "above chance" if alarm else "",
        "colour": 4 if alarm else 5,
    }


def _source(row: Any) -> str:
    """Return the path below the class folder: the label stands beside it."""
    name = str(row.source).removeprefix(f"{row.label}/")
    return name if len(name) <= LONGEST_NAME else f"…{name[-LONGEST_NAME:]}"


def _without_names(records: pd.DataFrame) -> pd.DataFrame:
    """Return the files set aside, called by their numbers, also where a reason names them."""
    aside = records[records["status"] != USED]
    return aside.assign(
        reason=[_without_name(row) for row in aside.itertuples()],
        source="record " + aside["record"].astype(str),
    )


def _without_name(row: Any) -> str:
    path = PurePosixPath(row.source)
    text = str(row.reason)
    for part in (str(path), path.name, path.stem):
        if part:
            # As a whole word: the stem 2 is not the one in 24 x 24 px.
            text = re.sub(rf"(?<!\w){re.escape(part)}(?!\w)", "the file", text)
    return text
