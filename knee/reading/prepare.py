"""Preparation of a file for the model, by the readers and in the order of ingest."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from knee.reading import (
    borders,
    canonical_image,
    decoded,
    image_formats,
    negatives,
    source_files,
)
from knee.reading.canonical_image import Canonical
from knee.storage.arrays import Pixels

Prepared = Pixels | decoded.UnreadableImage


def sources(paths: Sequence[Path], *, labelled: bool = False) -> list[source_files.SourceFile]:
    """Return the files that `paths` name, and all below the folders among them.

    A file's name is its path as given, or below the folder as given. `FolderError` for a path
    that does not exist.
    """
    files: list[source_files.SourceFile] = []
    for path in paths:
        if path.is_dir():
            files += [
                dataclasses.replace(source, name=str(path / source.name))
                for source in source_files.list_sources(path, labelled=labelled)
            ]
        elif path.exists():
            files.append(source_files.SourceFile(str(path), path, ""))
        else:
            raise source_files.FolderError(
                f"{path} does not exist: give files or folders of images"
            )
    return files


def prepare(source: source_files.SourceFile, canonical: Canonical) -> Prepared:
    """Return canonical pixels, uint8 (side, side), or the reason why there are none."""
    try:
        return from_bytes(source_files.read(source), canonical)
    except decoded.UnreadableImage as reason:
        return reason


def from_bytes(content: bytes, canonical: Canonical) -> Pixels:
    """Return canonical pixels, uint8 (side, side), of a file's bytes, or raise UnreadableImage."""
    image = image_formats.decode_radiograph(content, canonical.maximum_megapixels, canonical.dicom)
    return from_gray(image.pixels, canonical)


def from_gray(image: Pixels, canonical: Canonical) -> Pixels:
    """Return canonical pixels, uint8 (side, side), of decoded ones, uint8 (height, width).

    `UnreadableImage` for a photographic negative, where it is known what images are like.
    """
    if canonical.crop_borders:
        image = borders.crop(image, borders.measure(image))
    square = canonical_image.fit(image, canonical.side_pixels, canonical.fit)
    if canonical.typical_image:
        negatives.check(square, negatives.of_text(canonical.typical_image))
    return square


def prepare_all(
    files: Sequence[source_files.SourceFile], canonical: Canonical
) -> Iterator[Prepared]:
    """Yield `prepare` of each file in order; in parallel: decoders release Python's lock."""
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        yield from pool.map(lambda source: prepare(source, canonical), files)
