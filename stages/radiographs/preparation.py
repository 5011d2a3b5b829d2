"""A file of any kind -> what a trained model takes: by the readers and in the order of ingest."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from stages.radiographs import borders, decoding, files, pixels
from stages.radiographs.pixels import Canonical

Prepared = pixels.Pixels | files.UnreadableImage


def sources(paths: Sequence[Path], *, labelled: bool = False) -> list[files.Source]:
    """The files that `paths` name, and all below the folders among them.

    A file's name is its path as given, or below the folder as given.

    Raises:
        FolderError: a path that does not exist.
    """
    found: list[files.Source] = []
    for path in paths:
        if path.is_dir():
            inside = files.list_sources(path, labelled=labelled)
            found += [
                files.Source(str(path / each.name), each.path, each.label, each.obstacle)
                for each in inside
            ]
        elif path.exists():
            found.append(files.Source(str(path), path, ""))
        else:
            raise files.FolderError(f"{path} does not exist: give files or folders of images")
    return found


def prepare(source: files.Source, canonical: Canonical) -> Prepared:
    """Canonical pixels, uint8 (side, side), or why there are none."""
    try:
        return from_bytes(files.read(source), canonical)
    except files.UnreadableImage as reason:
        return reason


def from_bytes(content: bytes, canonical: Canonical) -> pixels.Pixels:
    """Canonical pixels, uint8 (side, side), of the image in a file's bytes.

    Raises:
        UnreadableImage: with the reason.
    """
    return from_gray(decoding.decode(content, canonical.maximum_megapixels).pixels, canonical)


def from_gray(image: pixels.Pixels, canonical: Canonical) -> pixels.Pixels:
    """Canonical pixels, uint8 (side, side), of decoded ones, uint8 (height, width)."""
    if canonical.crop_borders:
        image = borders.crop(image, borders.measure(image))
    return pixels.fit(image, canonical.side_pixels, canonical.fit)


def prepare_all(given: Sequence[files.Source], canonical: Canonical) -> Iterator[Prepared]:
    """`prepare` of each, in order, in parallel: the decoders release the interpreter's lock."""
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        yield from pool.map(lambda source: prepare(source, canonical), given)
