"""Pretrained weights: present, readable, and still those that the features were made with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from knee.health import downloads
from knee.health.result import Result, plural
from knee.health.storage import md5_of
from knee.storage import provenance
from knee.storage.artifacts import ArtifactError, read_json

HDF5 = b"\x89HDF\r\n\x1a\n"


def check_weights(
    weights: str, backbones: Sequence[str], embeddings: Mapping[str, Path], root: Path
) -> Result:
    """Check the weights that params.yaml asks for: none, imagenet, or a folder (below `root`).

    `embeddings` are, by backbone, the records of features: they have the SHA-256 of the weights.
    """
    if weights == "none":
        return Result("ok", "none asked for: backbones start from random weights")
    if weights == "imagenet":
        return _downloaded(backbones)
    folder = root / weights
    faults = [fault for name in backbones if (fault := _damage(folder / f"{name}.h5"))]
    if faults:
        remedy = "give none, imagenet, or a folder with <backbone>.h5 (ImageNet, without the top)"
        return Result("fault", f"{folder} lacks what is asked for", remedy, tuple(faults))
    changed = [
        f"{name}.h5"
        for name in backbones
        if name in embeddings and not _made_with(embeddings[name], folder / f"{name}.h5")
    ]
    if changed:
        remedy = "dvc repro --force embed, or restore the weights: DVC sees only their path"
        saying = f"{plural(len(changed), 'file')} changed since the features were made"
        return Result("fault", saying, remedy, tuple(changed))
    return Result("ok", f"{plural(len(backbones), 'file')} in {folder}, readable")


def _downloaded(backbones: Sequence[str]) -> Result:
    home, absent = downloads.folder(), []
    for name in backbones:
        file, md5 = downloads.FILES.get(name, ("", ""))
        if not file or not (home / file).is_file():
            absent.append(name)
        elif damage := _damage(home / file):
            return Result("fault", "a download is damaged", "remove it", (damage,))
        elif md5 and md5_of(home / file) != md5:
            saying = f"{home / file} is not what Keras publishes"
            return Result("fault", saying, "remove it: Keras downloads it again")
    if absent:
        saying = f"Keras downloads those of {' and '.join(absent)} at the first run"
        return Result("ok", f"imagenet: {saying}, which needs a network")
    return Result("ok", f"imagenet: in {home}")


def _damage(file: Path) -> str:
    """What is wrong with a file of weights, or ""."""
    try:
        with file.open("rb") as stream:
            return "" if stream.read(len(HDF5)) == HDF5 else f"{file} is no HDF5 file"
    except FileNotFoundError:
        return f"{file} does not exist"
    except OSError as error:
        return f"{file} cannot be read: {error.strerror}"


def _made_with(record: Path, file: Path) -> bool:
    """Whether features come from this file; a record without a SHA-256 is no contradiction."""
    try:
        recorded = str(read_json(record, ["weights"])["weights"])
    except ArtifactError:
        return True
    return len(recorded) != 64 or recorded == provenance.fingerprint(file)
