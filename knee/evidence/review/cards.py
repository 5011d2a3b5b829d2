"""The radiographs on which a person is asked to decide, each once, most doubtful kind first."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import pandas as pd

from knee.audit import audit_pictures
from knee.audit.audit_pictures import ShownImage, Thumbnails
from knee.intake.label_decisions import COLUMNS, Decision
from knee.records.conflicts import conflicts_of
from knee.records.records_table import RELABELLED

CONFLICT, SUSPECT, JOIN, DECIDED = "conflict", "suspect", "join", "decided"
ONE_LABEL: Final = 3  # images shown of a radiograph with one label, at most
FROM: Final = f"{RELABELLED} from "  # in column decision, before the label by folder or sheet


@dataclass(frozen=True)
class Doubt:
    """Why a label is suspected: out-of-fold probabilities, 0-1, and what the shortcut says."""

    label: float
    suggested: str  # class that is confidently predicted
    probability: float  # of it
    ring: str  # class by the outer ring alone, out of fold; "" where there are no folds


@dataclass(frozen=True)
class Card:
    """One radiograph to decide on; a label is for all its `rows`."""

    images: Sequence[ShownImage]
    hidden: int  # files of it that are not shown
    labels: Sequence[str]  # that its files have now, sorted by class
    rows: Sequence[tuple[str, str]]  # pixel_sha256 and label by folder or sheet, each pair once
    excluded: Sequence[tuple[str, str]]  # of `rows`, those that an exclusion is about
    doubt: Doubt | None = None
    agreement: float | None = None  # least one by which its files, or its two images, were joined
    altered: bool = False  # joined without margins, equalised or as a negative
    before: Sequence[Sequence[str]] = field(default=())  # earlier decisions, as in their table


@dataclass(frozen=True)
class Section:
    """Cards of one kind."""

    kind: str
    cards: Sequence[Card]
    total: int  # of the kind, those that are not shown too


@dataclass(frozen=True)
class Limits:
    """How much the page shows."""

    conflicts: int
    suspects: int
    joins: int
    images: int  # of a radiograph


@dataclass(frozen=True)
class Subject:
    """What there is to decide on."""

    images: pd.DataFrame  # rows of the records table with pixels, and a column derived
    joins: pd.DataFrame  # of ingest: record, other, agreement, altered
    doubts: dict[int, Doubt]  # by record, most doubtful first
    decisions: Sequence[Decision]  # earlier ones, which the records have


def sections(subject: Subject, limits: Limits, thumbnails: Thumbnails) -> list[Section]:
    """Return conflicts, suspects, weakest joins, and what was decided before.

    No radiograph is on two cards; what was decided before is on no other.
    """
    made = _Cards(subject, limits, thumbnails)
    images = made.images
    before = set(images.loc[images["decision"] != "", "picture"])
    several = conflicts_of(images)
    conflicts = [one for one in made.by_size(several) if one not in before]
    picture_of = dict(zip(images["record"], images["picture"], strict=True))
    taken = before | set(several)
    suspects = {
        int(picture_of[record]): doubt
        for record, doubt in subject.doubts.items()
        if picture_of[record] not in taken
    }
    shown = [*suspects][: limits.suspects]
    taken |= set(shown)
    joins = subject.joins.assign(picture=subject.joins["record"].map(picture_of))
    joins = joins[~joins["picture"].isin(taken)].sort_values(["agreement", "record"])
    joins = joins.drop_duplicates("picture")
    return [
        Section(
            CONFLICT, [made.whole(one) for one in conflicts[: limits.conflicts]], len(conflicts)
        ),
        Section(SUSPECT, [made.whole(one, doubt=suspects[one]) for one in shown], len(suspects)),
        Section(
            JOIN, [made.join(row) for row in joins.head(limits.joins).itertuples()], len(joins)
        ),
        Section(DECIDED, [made.decided(one) for one in sorted(before)], len(before)),
    ]


def digest(images: pd.DataFrame) -> str:
    """Return the SHA-256 of the images and their labels: the key of what a browser keeps."""
    rows = sorted(zip(images["pixel_sha256"], labels_by_source(images), strict=True))
    return hashlib.sha256("\n".join(map(" ".join, rows)).encode()).hexdigest()


def labels_by_source(images: pd.DataFrame) -> list[str]:
    """Return the label of each image by its folder or sheet, before any decision."""
    if "decision" not in images:
        return [str(label) for label in images["label"]]
    pairs = zip(images["decision"], images["label"], strict=True)
    return [str(said.removeprefix(FROM) if said.startswith(FROM) else now) for said, now in pairs]


class _Cards:
    """Makes cards of the images of a subject."""

    def __init__(self, subject: Subject, limits: Limits, thumbnails: Thumbnails) -> None:
        known = {"decision": ""} if "decision" not in subject.images else {}
        self.images = subject.images.assign(**known, by_source=labels_by_source(subject.images))
        self._parts = dict(iter(self.images.groupby("picture")))
        self._most, self._thumbnails = limits.images, thumbnails
        self._decisions = {(one.pixel_sha256, one.old_label): one for one in subject.decisions}
        picture_of = dict(zip(self.images["record"], self.images["picture"], strict=True))
        pictures = subject.joins["record"].map(picture_of)
        self._agreement = subject.joins["agreement"].groupby(pictures).min().to_dict()

    def by_size(self, several: dict[int, list[str]]) -> list[int]:
        """The copy groups with most labels and files first."""
        return sorted(several, key=lambda one: (-len(several[one]), -len(self._parts[one]), one))

    def whole(self, picture: int, **known: Any) -> Card:
        """The card of a copy group; copies of one label have less to tell than several labels."""
        part = self._parts[picture]
        most = self._most if part["label"].nunique() > 1 else min(self._most, ONE_LABEL)
        group = audit_pictures.one_of_each_look(part, "", self._thumbnails, most)
        known = {"agreement": self._agreement.get(picture), **known}
        rows = _rows(part)
        return Card(group.images, group.hidden, _labels(part), rows, rows, **known)

    def decided(self, picture: int) -> Card:
        """The card of a copy group with earlier decisions."""
        rows = [self._decisions.get(pair) for pair in _rows(self._parts[picture])]
        before = [[str(getattr(one, name)) for name in COLUMNS] for one in rows if one]
        return self.whole(picture, before=before)

    def join(self, row: Any) -> Card:
        """The card of a copy beside the image with which it was joined."""
        pair = self.images.set_index("record").loc[[row.record, row.other]].reset_index()
        part = self._parts[pair["picture"][0]]
        shown = audit_pictures.shown(pair.assign(copies=1), self._thumbnails)
        return Card(
            shown,
            len(part) - len(shown),
            _labels(part),
            _rows(part),
            _rows(part[part["pixel_sha256"] == pair["pixel_sha256"][0]]),
            agreement=float(row.agreement),
            altered=bool(row.altered),
        )


def _labels(part: pd.DataFrame) -> list[str]:
    return [str(one) for one in part.sort_values("class_index")["label"].unique()]


def _rows(part: pd.DataFrame) -> list[tuple[str, str]]:
    pairs = part[["pixel_sha256", "by_source"]].drop_duplicates()
    return [(str(one), str(label)) for one, label in pairs.sort_values([*pairs]).to_numpy()]
