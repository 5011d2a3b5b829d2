"""The images that the report of the audit shows, as thumbnails within a bound on its size."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd
from PIL import Image

from knee.drawing.html import data_uri
from knee.records.conflicts import conflicts_of
from knee.storage.arrays import PixelRows

JPEG_QUALITY: Final = 62
THUMBNAIL_SHARE: Final = 0.8  # of the report's size; the rest is for text


@dataclass(frozen=True)
class ShownImage:
    """One image as the report shows it."""

    thumbnail: str  # data URI, or "" where the report is full
    record: int
    label: str
    class_index: int
    copies: int  # files with the very same pixels and label, this one included


@dataclass(frozen=True)
class Group:
    """Images of one copy group, or images of one class."""

    title: str
    files: int
    images: tuple[ShownImage, ...]
    hidden: int  # files that are not shown


class Thumbnails:
    """Data URIs of reduced images, each made once, until they fill their share of `most_bytes`."""

    def __init__(self, pixels: PixelRows, side_pixels: int, most_bytes: int) -> None:
        self.left_out = 0
        self._pixels = pixels
        self._side_pixels = side_pixels
        self._left = int(most_bytes * THUMBNAIL_SHARE)
        self._made: dict[int, str] = {}

    def of(self, pixel_row: int) -> str:
        """Return a JPEG's data URI, or "" if it would go beyond the bound."""
        if pixel_row not in self._made:
            image = Image.fromarray(np.array(self._pixels[pixel_row]))
            image.thumbnail((self._side_pixels, self._side_pixels), Image.Resampling.LANCZOS)
            content = io.BytesIO()
            image.save(content, "JPEG", quality=JPEG_QUALITY, optimize=True)
            uri = data_uri(content.getvalue(), "image/jpeg")
            if len(uri) > self._left:
                self.left_out += 1
                return ""
            self._left -= len(uri)
            self._made[pixel_row] = uri
        return self._made[pixel_row]


def conflicts(images: pd.DataFrame, thumbnails: Thumbnails, count: int, most: int) -> list[Group]:
    """Return up to `count` copy groups under several labels, most labels and files first.

    `images` are rows of the records table that have pixels, with a column derived; `most` of each
    group are shown.
    """
    labels = conflicts_of(images)
    images = images[images["picture"].isin(labels)]
    files = images["picture"].value_counts()
    order = sorted(labels, key=lambda number: (-len(labels[number]), -files[number], number))
    return [
        one_of_each_look(
            images[images["picture"] == number], " or ".join(labels[number]), thumbnails, most
        )
        for number in order[:count]
    ]


def largest(images: pd.DataFrame, thumbnails: Thumbnails, count: int, most: int) -> list[Group]:
    """Return the `count` copy groups with most files, if they have two or more."""
    sizes = images["picture"].value_counts(sort=False).sort_values(ascending=False, kind="stable")
    return [
        one_of_each_look(images[images["picture"] == number], f"{size} files", thumbnails, most)
        for number, size in sizes.head(count).items()
        if size > 1
    ]


def montages(kept: pd.DataFrame, thumbnails: Thumbnails, most: int, seed: int) -> list[Group]:
    """Return up to `most` images of each class, drawn at random so that they show what is usual."""
    groups = []
    for _, part in kept.groupby("class_index"):
        drawn = np.random.default_rng(seed).permutation(len(part))[:most]
        images = shown(part.iloc[np.sort(drawn)].assign(copies=1), thumbnails)
        groups.append(Group(str(part["label"].iloc[0]), len(part), images, len(part) - len(images)))
    return groups


def one_of_each_look(part: pd.DataFrame, title: str, thumbnails: Thumbnails, most: int) -> Group:
    """Return one image for each label and look: the labels in turn, of each the originals first."""
    part = part.sort_values(["derived", "record"])
    looks = part.groupby(["class_index", "pixel_sha256"], sort=False)
    first = looks.head(1).assign(copies=looks["record"].transform("size"))
    first = first.assign(turn=first.groupby("class_index").cumcount())
    chosen = first.sort_values(["turn", "class_index"], kind="stable").head(most)
    images = shown(chosen.sort_values(["class_index", "turn"]), thumbnails)
    return Group(title, len(part), images, len(part) - sum(image.copies for image in images))


def shown(chosen: pd.DataFrame, thumbnails: Thumbnails) -> tuple[ShownImage, ...]:
    """Return the images of records with a column copies, in their order."""
    names = ("pixel_row", "record", "label", "class_index", "copies")
    columns = [chosen[name].tolist() for name in names]
    return tuple(ShownImage(thumbnails.of(row), *rest) for row, *rest in zip(*columns, strict=True))
