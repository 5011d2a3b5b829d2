"""Faults of real collections, planted on purpose: copies of every kind, and files that break.

A copy's name begins with the patient's number, as in the folder of a hospital.
"""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image, ImageEnhance, ImageOps

Fault = Literal[
    "", "exact copy", "re-encoded copy", "mirrored copy", "augmented copy", "conflict", "16-bit"
]
# Writes copies of a file and returns their paths; `int` counts the originals of its kind.
Maker = Callable[[Path, int, np.random.Generator], list[Path]]
CLASSES = ("Normal", "Osteopenia", "Osteoporosis")


@dataclasses.dataclass(frozen=True)
class Radiograph:
    """One readable file of the sample, as the truth file lists it."""

    source: str  # POSIX path relative to the images folder
    patient: str
    side: Literal["left", "right"]  # of the patient's body; a mirrored copy keeps it
    view: Literal["close-up", "whole-leg"]
    t_score: float  # standard deviations from the young adult mean
    label: str  # true class; only a conflict's source lies in another class's folder
    fault: Fault = ""


@dataclasses.dataclass(frozen=True)
class Planted:
    """Files that `plant` wrote besides the originals."""

    copies: list[Radiograph]
    same_picture: list[list[str]]  # sources, original first
    conflicts: list[list[str]]
    rejected: list[dict[str, str]]  # source and reason


def plant(folder: Path, originals: list[Radiograph], random: np.random.Generator) -> Planted:
    """Write every kind of fault into `folder`, each from originals that no other fault uses.

    Of the `originals`, at least 16 without a fault, about one in 55 gets a copy of each kind.
    """
    clean = [one for one in originals if not one.fault]
    clean = [clean[index] for index in random.permutation(len(clean))]
    to_break = [one for one in clean if one.source.endswith(".jpg")][:2]
    order = iter([one for one in clean if one not in to_break])
    each = max(2, len(clean) // 55)
    makers: dict[Fault, Maker] = {
        "exact copy": _copy_exactly,
        "re-encoded copy": _encode_again,
        "mirrored copy": _mirror,
        "augmented copy": _augment,
        "conflict": _contradict,
    }
    copies: list[Radiograph] = []
    groups: list[list[str]] = []
    for fault, maker in makers.items():
        for number in range(1 if fault == "conflict" else each):
            original = next(order)
            targets = maker(folder / original.source, number, random)
            sources = [target.relative_to(folder).as_posix() for target in targets]
            copies += [dataclasses.replace(original, source=s, fault=fault) for s in sources]
            groups.append([original.source, *sources])
    truncated, pretended = (folder / one.source for one in to_break)
    broken = {"truncated JPEG": _truncate(truncated), "text file named .png": _pretend(pretended)}
    rejected = [
        {"source": path.relative_to(folder).as_posix(), "reason": reason}
        for reason, path in broken.items()
    ]
    return Planted(copies, groups, conflicts=groups[-1:], rejected=rejected)


def _copy_exactly(path: Path, number: int, random: np.random.Generator) -> list[Path]:
    """The same bytes under another name: a file manager's copy or a second export."""
    stem = f"{path.stem} copy" if number % 2 else _numbered(path, int(random.integers(2, 5)))
    target = path.with_stem(stem)
    shutil.copyfile(path, target)
    return [target]


def _encode_again(path: Path, number: int, random: np.random.Generator) -> list[Path]:
    """JPEG to PNG, JPEG to a worse JPEG, or PNG to JPEG."""
    stem = _numbered(path, int(random.integers(2, 5)))
    with Image.open(path) as image:
        if path.suffix == ".png" or number % 2:
            target = path.with_name(f"{stem}.jpg")
            image.save(target, quality=int(random.integers(60, 80)))
        else:
            target = path.with_name(f"{stem}.png")
            image.save(target)
    return [target]


def _mirror(path: Path, number: int, random: np.random.Generator) -> list[Path]:
    """Left and right exchanged, marker included."""
    target = path.with_name(f"{_numbered(path, 5 + number % 3)}.jpg")
    with Image.open(path) as image:
        ImageOps.mirror(image).save(target, quality=int(random.integers(88, 95)))
    return [target]


def _augment(path: Path, number: int, random: np.random.Generator) -> list[Path]:
    """One to three `<stem>_aug_<n>` copies: other brightness, slightly turned and cropped."""

    def change(image: Image.Image) -> Image.Image:
        angle, share, brightness = random.uniform((-3.0, 0.01, 0.9), (3.0, 0.03, 1.12))
        turned = image.rotate(angle, Image.Resampling.BICUBIC)
        cut = (turned.width * share, turned.height * share)
        box = (cut[0], cut[1], turned.width - cut[0], turned.height - cut[1])
        cropped = turned.resize(image.size, Image.Resampling.BICUBIC, box=box)
        return ImageEnhance.Brightness(cropped).enhance(brightness)

    targets = [path.with_name(f"{path.stem}_aug_{copy}.jpg") for copy in range(1, 2 + number % 3)]
    with Image.open(path) as image:
        for target in targets:
            change(image).save(target, quality=90)
    return targets


def _contradict(path: Path, number: int, random: np.random.Generator) -> list[Path]:  # noqa: ARG001
    """The same file in the folder of another class too."""
    wrong = CLASSES[(CLASSES.index(path.parent.name) + 1) % len(CLASSES)]
    target = path.parents[1] / wrong / path.name
    shutil.copyfile(path, target)
    return [target]


def _truncate(path: Path) -> Path:
    """A JPEG whose transfer stopped: its header is whole, its pixels are not."""
    target = path.with_stem(_numbered(path, 8))
    content = path.read_bytes()
    target.write_bytes(content[: len(content) * 3 // 5])
    return target


def _pretend(path: Path) -> Path:
    """An error message that an export saved under an image's name."""
    target = path.with_name(f"{_numbered(path, 9)}.png")
    target.write_bytes(b"Export failed: the study is offline. Ask for its retrieval.\n")
    return target


def _numbered(path: Path, running_number: int) -> str:
    """The stem `P0123_L_1` with another running number."""
    return f"{path.stem.rpartition('_')[0]}_{running_number}"
