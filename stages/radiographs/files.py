"""Source files: the list of all below a folder, and one file's bytes to 8-bit gray pixels."""

from __future__ import annotations

import dataclasses
import errno
import io
import os
import re
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, UnidentifiedImageError

FORMATS: Final = ("JPEG", "PNG", "TIFF", "BMP")
REASON_CHARACTERS: Final = 160


class FolderError(ValueError):
    """The data folder cannot be used as a whole."""


class UnreadableImage(ValueError):  # noqa: N818 - says what the file is, not what went wrong here
    """A file that is no usable image; the message is the reason, one line without any path."""


@dataclasses.dataclass(frozen=True)
class Source:
    """One source file.

    Attributes:
        name: POSIX path relative to the data folder.
        path: where it is.
        label: its class folder, "" outside all of them.
        obstacle: why it is not even opened, "" if it is.
    """

    name: str
    path: Path
    label: str
    obstacle: str = ""


@dataclasses.dataclass(frozen=True)
class Decoded:
    """One decoded image.

    Attributes:
        pixels: uint8 (height, width), gray, upright.
        mode: Pillow's name for the file's pixel layout.
        format: Pillow's name for the file's format.
    """

    pixels: npt.NDArray[np.uint8]
    mode: str
    format: str


def class_folders(folder: Path, classes: Sequence[str]) -> list[str]:
    """The class names in order: `classes`, or the names of the sub-folders sorted by bytes.

    Raises:
        FolderError: no folder, no sub-folder, or sub-folders that are not the `classes`.
    """
    if not folder.is_dir():
        raise FolderError(f"{folder} is not a folder: set data.path to one with a folder a class")
    try:
        found = [entry.name for entry in os.scandir(folder) if _is_class_folder(entry)]
    except OSError as error:
        raise FolderError(f"{folder} cannot be listed: {_cause(error)}") from error
    found.sort(key=os.fsencode)
    if not found:
        raise FolderError(f"{folder} has no sub-folder: give each class a folder with its images")
    if len(set(classes)) < len(classes):
        raise FolderError(f"data.classes names a class twice: {', '.join(classes)}")
    absent = [name for name in classes if name not in found]
    if absent:
        raise FolderError(
            f"data.classes names {', '.join(absent)}, but {folder} has only {', '.join(found)}"
        )
    unnamed = [name for name in found if classes and name not in classes]
    if unnamed:
        raise FolderError(
            f"{folder} has {', '.join(unnamed)}, which data.classes does not name: "
            "add to data.classes, or move the folder away"
        )
    return list(classes) or found


def list_sources(folder: Path) -> list[Source]:
    """Every file below `folder`, in the order of its name's bytes, whatever the file system's.

    Links are followed; a link back to a folder that contains it is listed as an unusable file.
    """
    sources = list(_walk(folder, folder, ()))
    return sorted(sources, key=lambda source: os.fsencode(source.name))


def decode(content: bytes, maximum_megapixels: float) -> Decoded:
    """The one image in a file's bytes.

    Rotation by the EXIF tag is applied. Colour becomes gray by ITU-R BT.601; transparent parts
    become black. Deeper than 8 bits: scaled so that the image's own range fills 0-255.

    Raises:
        UnreadableImage: with the reason.
    """
    try:
        with Image.open(io.BytesIO(content), formats=FORMATS) as image:
            _check_header(image, maximum_megapixels)
            mode, file_format = image.mode, str(image.format)
            gray = _gray(ImageOps.exif_transpose(image))
    except UnreadableImage:
        raise
    except UnidentifiedImageError as error:
        raise UnreadableImage(f"not a {', '.join(FORMATS)} image") from error
    except MemoryError as error:
        raise UnreadableImage("too large for the memory") from error
    except Exception as error:  # damaged files raise whatever the decoder trips over
        raise UnreadableImage(_one_line(error)) from error
    return Decoded(gray, mode, file_format)


def read(source: Source) -> bytes:
    """The bytes of `source`.

    Raises:
        UnreadableImage: it is no file, or cannot be read.
    """
    if source.obstacle:
        raise UnreadableImage(source.obstacle)
    try:
        return source.path.read_bytes()
    except OSError as error:
        raise UnreadableImage(f"cannot be read: {_cause(error)}") from error


def _is_class_folder(entry: os.DirEntry[str]) -> bool:
    return not entry.name.startswith(".") and entry.is_dir()


def _walk(folder: Path, root: Path, above: tuple[tuple[int, int], ...]) -> Iterator[Source]:
    """Files below `folder`; `above` holds device and inode of the folders that contain it."""
    try:
        status = folder.stat()
        identity = (status.st_dev, status.st_ino)
        if identity in above:
            yield _source(folder, root, "link to a folder that contains it")
            return
        entries = list(os.scandir(folder))
    except OSError as error:
        yield _source(folder, root, f"folder cannot be read: {_cause(error)}")
        return
    for entry in entries:
        path = Path(entry.path)
        kind, obstacle = _kind(path)
        if kind == "folder":
            yield from _walk(path, root, (*above, identity))
        else:
            yield _source(path, root, obstacle)


def _kind(path: Path) -> tuple[str, str]:
    """Folder or file, and why the file cannot be opened."""
    try:
        mode = path.stat().st_mode
    except OSError as error:
        if error.errno == errno.ELOOP:
            return "file", "link to itself"
        return "file", "broken link" if path.is_symlink() else f"cannot be read: {_cause(error)}"
    if stat.S_ISDIR(mode):
        return "folder", ""
    return "file", "" if stat.S_ISREG(mode) else "not a regular file"


def _source(path: Path, root: Path, obstacle: str) -> Source:
    parts = path.relative_to(root).parts
    name = os.fsencode("/".join(parts)).decode("utf-8", "backslashreplace")
    if not obstacle and any(part.startswith(".") for part in parts):
        obstacle = "hidden"
    if not obstacle and len(parts) == 1:
        obstacle = "in no class folder"
    if not obstacle and name != "/".join(parts):
        obstacle = "name is not UTF-8: rename the file"
    label = parts[0] if len(parts) > 1 and not parts[0].startswith(".") else ""
    return Source(name, path, label, obstacle)


def _check_header(image: Image.Image, maximum_megapixels: float) -> None:
    """Refuse before decoding what would be too large, and what holds several images."""
    width, height = image.size
    if width * height > maximum_megapixels * 1e6:
        raise UnreadableImage(
            f"{width} x {height} px is above ingest.maximum_megapixels = {maximum_megapixels:g}"
        )
    if getattr(image, "n_frames", 1) > 1:
        raise UnreadableImage(f"holds {getattr(image, 'n_frames', 1)} images: export one a file")


def _gray(image: Image.Image) -> npt.NDArray[np.uint8]:
    """uint8 (height, width)."""
    if image.mode.startswith(("I", "F")):
        return _stretched(np.asarray(image, dtype=np.float64))
    if image.mode in ("LA", "PA", "RGBA", "RGBa", "La") or "transparency" in image.info:
        opaque = image.convert("RGBA")
        black = Image.new("RGBA", opaque.size, (0, 0, 0, 255))
        image = Image.alpha_composite(black, opaque)
    return np.array(image.convert("L"), dtype=np.uint8)


def _stretched(values: npt.NDArray[np.float64]) -> npt.NDArray[np.uint8]:
    """Any range to 0-255; a constant image becomes 0."""
    if not np.isfinite(values).all():
        raise UnreadableImage("holds values that are not numbers")
    low, high = float(values.min()), float(values.max())
    scale = 255.0 / (high - low) if high > low else 0.0
    return np.rint((values - low) * scale).astype(np.uint8)


def _one_line(error: Exception) -> str:
    """The decoder's message without addresses, which differ from run to run."""
    text = re.sub(r"<[^>]*>", "the file", str(error)) or type(error).__name__
    printable = "".join(letter if letter.isprintable() else " " for letter in text)
    return " ".join(printable.split())[:REASON_CHARACTERS]


def _cause(error: OSError) -> str:
    """What the system says, without the path."""
    return error.strerror or type(error).__name__
