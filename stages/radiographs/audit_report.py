"""The audit's report: one self-contained HTML page.

File names are hostile text and may name patients: all text is escaped, the page may load and run
nothing, and without `named` it calls files by their record's number. It shows no patient's hash.
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

from stages.radiographs import audit_charts, audit_page, audit_pictures, expected_records
from stages.radiographs.pixels import Pixels
from stages.radiographs.records import USED

MEGABYTE: Final = 1_000_000
FIRST: Final = 12  # pictures under several labels that are seen without unfolding the rest
REASONS: Final = 100  # rows of the table
LONGEST_NAME: Final = 120  # letters of a file's name, of its end
FILMS_OF_A_PICTURE: Final = 4  # a quarter of a class' films are shown of one picture

SHORTCUTS: Final = {
    "majority": ("Largest class", "Nothing: always the most frequent class"),
    "metadata": ("File metadata", "Size, format, bits, compression, borders; never a pixel"),
    "border": ("Border ring", "The outer eighth on each side; the inside is black"),
    "nearest_neighbour": ("Nearest neighbour", "The most similar film at 32 x 32 pixels"),
    "origin": ("Origin", "Which hospital, device or collection it comes from"),
}
SEES_THE_JOINT: Final = ("Nearest neighbour",)


@dataclass(frozen=True)
class Limits:
    """How much the report shows.

    Attributes:
        conflicts: pictures under several labels.
        groups: pictures with most copies.
        films: of each class; of one picture a quarter of that.
        thumbnail_pixels: longer side.
        megabytes: of the whole page.
    """

    conflicts: int
    groups: int
    films: int
    thumbnail_pixels: int
    megabytes: float


@dataclass(frozen=True)
class Subject:
    """What is reported on.

    Attributes:
        records: the records table.
        originals: (records,) False for copies that their file names call derived.
        kept: one used record a picture.
        pixels: uint8 (rows, side, side), canonical.
        facts: the content of audit.json.
        level: of the intervals, 0-1.
        alarm_level: largest p-value of an alarm.
        seed: of the films drawn for the montages.
    """

    records: pd.DataFrame
    originals: npt.NDArray[np.bool_]
    kept: pd.DataFrame
    pixels: Pixels
    facts: Mapping[str, Any]
    level: float
    alarm_level: float
    seed: int


def pages(subject: Subject, limits: Limits) -> tuple[str, str]:
    """The report with file names, and the one without that may leave the machine."""
    shapes = audit_charts.distributions(subject.kept, subject.pixels)
    most_bytes = int(limits.megabytes * MEGABYTE)
    thumbnails = audit_pictures.Thumbnails(subject.pixels, limits.thumbnail_pixels, most_bytes)
    with_names, without = (
        _page(subject, limits, thumbnails, shapes, named=named) for named in (True, False)
    )
    return with_names, without


def _page(
    subject: Subject,
    limits: Limits,
    thumbnails: audit_pictures.Thumbnails,
    shapes: list[audit_charts.Distribution],
    *,
    named: bool,
) -> str:
    films = subject.records.assign(derived=~subject.originals)
    films = films[films["pixel_row"] >= 0]
    name = _source if named else _number
    of_a_picture = max(2, limits.films // FILMS_OF_A_PICTURE)
    thumbnails.left_out = 0
    conflicts = audit_pictures.conflicts(films, thumbnails, name, of_a_picture, limits.conflicts)
    largest = audit_pictures.largest(films, thumbnails, name, limits.groups, of_a_picture)
    montages = audit_pictures.montages(subject.kept, thumbnails, name, limits.films, subject.seed)
    reasons = _reasons(subject.records, named=named)
    bars = _bars(subject.facts)
    page: str = _template().render(
        f=subject.facts,
        named=named,
        style=_safe(audit_page.STYLE),
        first=FIRST,
        conflicts=conflicts,
        conflicts_hidden=max(0, subject.facts["conflicting_pictures"] - len(conflicts)),
        largest=largest,
        montages=montages,
        left_out=thumbnails.left_out,
        bars=bars,
        best=max(
            (bar for bar in bars if bar["title"] not in SEES_THE_JOINT),
            key=lambda bar: bar["figures"]["balanced_accuracy"],
            default=None,
        ),
        level=f"{100 * subject.level:g} %",
        alarm_level=subject.alarm_level,
        shapes=shapes,
        reasons=reasons[:REASONS],
        reasons_hidden=max(0, len(reasons) - REASONS),
        labels=sorted({label for row in subject.facts["origins"].values() for label in row}),
    )
    return page


def _template() -> Any:
    from jinja2 import Environment, StrictUndefined

    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    environment.filters.update(
        count=lambda value: f"{value:,}",
        percent=_percent,
        decimal=lambda value: "-" if value is None else f"{value:.3f}",
        place=audit_charts.percent,
    )
    return environment.from_string(audit_page.TEMPLATE)


def _percent(value: float | None) -> str:
    if value is None:
        return "-"
    text = f"{100 * value:.1f}"
    return ("0" if value == 0 else text) + "\N{NO-BREAK SPACE}%"


def _safe(style: str) -> Any:
    from markupsafe import Markup

    return Markup(style)  # noqa: S704  # nosec B704  # a constant of this package


def _bars(facts: Mapping[str, Any]) -> list[dict[str, Any]]:
    bars = []
    for name, figures in facts["shortcuts"].items():
        if figures["balanced_accuracy"] is None:
            continue
        title, sees = SHORTCUTS[name]
        ends = figures["confidence_interval"]["balanced_accuracy"]
        bars.append(
            {
                "title": title,
                "sees": sees,
                "figures": figures,
                "place": audit_charts.percent(figures["balanced_accuracy"]),
                "low": audit_charts.percent(ends["low"]),
                "high": audit_charts.percent(ends["high"]),
            }
        )
    return bars


def _source(row: Any) -> str:
    """The path below the class folder: the label stands beside it."""
    name = str(row.source).removeprefix(f"{row.label}/")
    return name if len(name) <= LONGEST_NAME else f"…{name[-LONGEST_NAME:]}"


def _number(row: Any) -> str:
    return f"record {row.record}"


def _reasons(records: pd.DataFrame, *, named: bool) -> list[expected_records.Reason]:
    if named:
        return expected_records.reasons(records)
    aside = records[records["status"] != USED]
    nameless = aside.assign(
        reason=[_without_name(row) for row in aside.itertuples()],
        source=[_number(row) for row in aside.itertuples()],
    )
    return expected_records.reasons(nameless)


def _without_name(row: Any) -> str:
    """A reason is made without the file's name; should it hold it after all, it is cut."""
    path = PurePosixPath(row.source)
    text = str(row.reason)
    for part in (str(path), path.name, path.stem):
        if part:
            text = re.sub(re.escape(part), "the file", text)
    return text
