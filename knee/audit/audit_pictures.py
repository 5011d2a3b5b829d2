"""Which films the audit's report shows, and their thumbnails, within a bound on its size."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pandas as pd
from PIL import Image

from knee.records.conflicts import conflicting_labels
from knee.storage.arrays import Pixels

JPEG_QUALITY: Final = 62
THUMBNAIL_SHARE: Final = 0.8  # of the report's size; the rest is for text

Name = Callable[[Any], str]  # a record's row -> how the report calls its file


@dataclass(frozen=True)
class Film:
    """One film as the report shows it."""

    thumbnail: str  # data URI, or "" where the report is full
    name: str
    label: str
    class_index: int
    copies: int  # files with the very same pixels and label, this one included


@dataclass(frozen=True)
class Group:
    """Films of one picture, or the films of one class."""

    title: str
    files: int
    films: tuple[Film, ...]
    hidden: int  # files that are not shown


class Thumbnails:
    """Data URIs of reduced films, each made once, until they fill `most_bytes`."""

    def __init__(self, pixels: Pixels, side_pixels: int, most_bytes: int) -> None:
        self.left_out = 0
        self._pixels = pixels
        self._side_pixels = side_pixels
        self._left = int(most_bytes * THUMBNAIL_SHARE)
        self._made: dict[int, str] = {}

    def of(self, pixel_row: int) -> str:
        """A JPEG's data URI, or "" if it would go beyond the bound."""
        if pixel_row not in self._made:
            uri = _data_uri(self._pixels[pixel_row], self._side_pixels)
            if len(uri) > self._left:
                self.left_out += 1
                return ""
            self._left -= len(uri)
            self._made[pixel_row] = uri
        return self._made[pixel_row]


def conflicts(
    films: pd.DataFrame, thumbnails: Thumbnails, name: Name, most: int, count: int
) -> list[Group]:
    """Pictures that stand under several labels; those with most labels and files first.

    Args:
        films: rows of the records table that have pixels, and a column derived.
        thumbnails: where thumbnails come from.
        name: how files are called.
        most: films shown of each.
        count: at most this many pictures.
    """
    found = conflicting_labels(films["picture"].tolist(), films["label"].tolist())
    parts = dict(iter(films[films["picture"].isin(found)].groupby("picture")))
    order = sorted(found, key=lambda picture: (-len(found[picture]), -len(parts[picture]), picture))
    return [
        _group(parts[picture], " or ".join(found[picture]), thumbnails, name, most)
        for picture in order[:count]
    ]


def largest(
    films: pd.DataFrame, thumbnails: Thumbnails, name: Name, count: int, most: int
) -> list[Group]:
    """The `count` pictures with most files, if they have two or more."""
    sizes = films["picture"].value_counts(sort=False).sort_values(ascending=False, kind="stable")
    return [
        _group(films[films["picture"] == picture], f"{size} files", thumbnails, name, most)
        for picture, size in sizes.head(count).items()
        if size > 1
    ]


def montages(
    kept: pd.DataFrame, thumbnails: Thumbnails, name: Name, most: int, seed: int
) -> list[Group]:
    """Of each class up to `most` pictures, drawn at random so that they show what is usual."""
    groups = []
    for _, part in kept.groupby("class_index"):
        drawn = np.random.default_rng(seed).permutation(len(part))[:most]
        chosen = part.iloc[np.sort(drawn)]
        label = str(part["label"].iloc[0])
        shown = tuple(_film(row, 1, thumbnails, name) for row in chosen.itertuples())
        groups.append(Group(label, len(part), shown, len(part) - len(shown)))
    return groups


def _group(part: pd.DataFrame, title: str, thumbnails: Thumbnails, name: Name, most: int) -> Group:
    """One film for each label and look: the labels in turn, of each the originals first."""
    part = part.sort_values(["derived", "record"])
    looks = part.groupby(["class_index", "pixel_sha256"], sort=False)
    first = looks.head(1).assign(copies=looks["record"].transform("size"))
    first = first.assign(turn=first.groupby("class_index").cumcount())
    chosen = first.sort_values(["turn", "class_index"], kind="stable").head(most)
    chosen = chosen.sort_values(["class_index", "turn"])
    films = tuple(_film(row, row.copies, thumbnails, name) for row in _rows(chosen))
    return Group(title, len(part), films, len(part) - sum(film.copies for film in films))


def _rows(frame: pd.DataFrame) -> Iterator[Any]:
    return iter(frame.itertuples())


def _film(row: Any, copies: int, thumbnails: Thumbnails, name: Name) -> Film:
    uri = thumbnails.of(int(row.pixel_row))
    return Film(uri, name(row), str(row.label), int(row.class_index), int(copies))


def _data_uri(pixels: Pixels, side_pixels: int) -> str:
    image = Image.fromarray(np.array(pixels))
    image.thumbnail((side_pixels, side_pixels), Image.Resampling.LANCZOS)
    content = io.BytesIO()
    image.save(content, "JPEG", quality=JPEG_QUALITY, optimize=True)
    return "data:image/jpeg;base64," + base64.b64encode(content.getvalue()).decode("ascii")
