"""A cohort of synthetic knee radiographs with known bone density, written as a folder of classes.

Same arguments, same bytes. No real patient is behind any file.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from tqdm import tqdm

from knee.execution.local import Threads
from knee.execution.ordered import ordered
from knee.records.records_table import who_class
from knee.storage import artifacts
from knee.synthetic import rendering
from knee.synthetic.anatomy import bone_quality, physique
from knee.synthetic.faults import CLASSES, Planted, Radiograph, plant

SHARES = (0.45, 0.33, 0.22)  # of patients, in the order of CLASSES
# Mean and standard deviation of T in each class's component; tails cross the cut-offs rarely.
T_COMPONENTS = ((0.45, 0.42), (-1.85, 0.21), (-3.65, 0.35))
SECOND_KNEE_SHARE = 0.4
CLOSE_UP_SHARE = 0.65
PNG_SHARE = 0.12


def draw_t_scores(patients: int, random: np.random.Generator) -> NDArray[np.float64]:
    """Draw T-scores, float64 (patients,), two decimals: an imbalanced mixture in random order."""
    bounds = np.rint(np.cumsum(SHARES) * patients).astype(int)
    component = np.searchsorted(bounds, np.arange(patients), side="right")
    means, deviations = np.asarray(T_COMPONENTS)[component].T
    scores = np.round(np.clip(random.normal(means, deviations), -4.5, 1.8), 2)
    return np.asarray(random.permutation(scores))


def write_sample(
    images_out: Path,
    truth_out: Path,
    *,
    patients: int,
    size_pixels: int,
    seed: int,
    masks_out: Path | None = None,
) -> list[Radiograph]:
    """Generate the cohort; replace `images_out`, `masks_out` (folders) and `truth_out` (JSON).

    Args:
        images_out: gets one sub-folder per class with JPEG and PNG files.
        truth_out: gets the truth about every file, planted faults included.
        patients: at least 12; 1 or 2 radiographs each.
        size_pixels: longest side of a close-up; at least 96.
        seed: of everything that is drawn.
        masks_out: gets a bone mask for each original: PNG of 1 bit, white is bone, under the
            image's name. Copies have none.

    Returns:
        The originals, sorted by source.
    """
    staged_masks = artifacts.staged_folder(masks_out) if masks_out else contextlib.nullcontext()
    with artifacts.staged_folder(images_out) as images, staged_masks as masks:
        for label in CLASSES:
            for folder in (images, masks):
                if folder is not None:
                    (folder / label).mkdir()
        originals = _write_originals(images, masks, patients, size_pixels, seed)
        planted = plant(images, originals, np.random.default_rng([seed, 0, 1]))
    truth = _truth(originals, planted, patients=patients, size_pixels=size_pixels, seed=seed)
    artifacts.write_text(truth_out, json.dumps(truth, indent=1, sort_keys=True) + "\n")
    return originals


class _Patient(NamedTuple):
    """What is drawn of a patient before anything else; all else follows from it and the seed."""

    number: int  # from 0
    t_score: float
    radiographs: int  # 1, or 2: of both knees
    deep: bool  # the first of them has 16 bits


def _write_originals(
    folder: Path, masks: Path | None, patients: int, size_pixels: int, seed: int
) -> list[Radiograph]:
    cohort = np.random.default_rng([seed, 0, 0])
    scores = draw_t_scores(patients, cohort)
    radiographs = 1 + (cohort.permutation(patients) < round(SECOND_KNEE_SHARE * patients))
    deep = np.arange(patients) == int(cohort.integers(patients))
    columns = (range(patients), scores.tolist(), radiographs.tolist(), deep.tolist())
    chunks = ([_Patient(*row)] for row in zip(*columns, strict=True))
    shared = (folder, masks, size_pixels, seed)
    originals: list[Radiograph] = []
    with (
        Threads() as threads,
        tqdm(total=patients, desc="synthetic patients", disable=None) as bar,
    ):
        for (written,) in ordered(threads, _write_patients, shared, chunks, name=str):
            originals += written
            bar.update()
    return sorted(originals, key=lambda one: one.source)


def _write_patients(
    folder: Path, masks: Path | None, size_pixels: int, seed: int, patients: Sequence[_Patient]
) -> list[list[Radiograph]]:
    """The radiographs of each patient; the task of a thread."""
    return [_write_patient(folder, masks, size_pixels, seed, patient) for patient in patients]


def _write_patient(
    folder: Path, masks: Path | None, size_pixels: int, seed: int, patient: _Patient
) -> list[Radiograph]:
    """Draw and write the radiographs of one patient, and their bone masks."""
    random = np.random.default_rng([seed, 1, patient.number])
    body, bone = physique(random), bone_quality(patient.t_score, random)
    sides: list[rendering.Side] = ["L", "R"] if random.random() < 0.5 else ["R", "L"]
    name, label = f"P{patient.number + 1:04d}", who_class(patient.t_score, CLASSES)
    written: list[Radiograph] = []
    for side in sides[: patient.radiographs]:
        view: rendering.View = "close-up" if random.random() < CLOSE_UP_SHARE else "whole-leg"
        shot = rendering.draw_acquisition(view, side, size_pixels, body, random)
        crossed = rendering.expose(shot, body, bone)
        gray = rendering.develop(shot, crossed, bone, random)
        stem = f"{label}/{name}_{side}_1"
        deep = patient.deep and not written
        if masks is not None:
            Image.fromarray(rendering.bone_mask(shot, crossed)).save(masks / f"{stem}.png")
        written.append(
            Radiograph(
                source=_write(folder, stem, gray, random, deep=deep),
                patient=name,
                side="left" if side == "L" else "right",
                view=view,
                t_score=patient.t_score,
                label=label,
                fault="16-bit" if deep else "",
            )
        )
    return written


def _write(
    folder: Path, stem: str, gray: NDArray[np.float32], random: np.random.Generator, *, deep: bool
) -> str:
    """Write gray values (0-1) as JPEG, or as PNG of 8 or (`deep`) 16 bits; return the source."""
    quality, png = int(random.integers(90, 96)), random.random() < PNG_SHARE
    levels = np.rint(gray * (65535 if deep else 255))
    image = Image.fromarray(levels.astype(np.uint16 if deep else np.uint8))
    source = f"{stem}.{'png' if png or deep else 'jpg'}"
    image.save(folder / source, quality=quality)
    return source


def _truth(originals: list[Radiograph], planted: Planted, **settings: int) -> dict[str, Any]:
    """The facts that tests compare with; no stage reads them."""
    images = []
    for one in sorted([*originals, *planted.copies], key=lambda one: one.source):
        fields = dataclasses.asdict(one)
        fields["class"] = fields.pop("label")
        images.append(fields)
    return {
        "settings": settings,
        "synthetic": True,
        "images": images,
        "same_picture": sorted(sorted(group) for group in planted.same_picture),
        "conflicts": sorted(sorted(pair) for pair in planted.conflicts),
        "rejected": sorted(planted.rejected, key=lambda one: one["source"]),
    }
