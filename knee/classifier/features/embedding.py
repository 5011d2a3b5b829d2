"""Feature maps of the frozen part, once per image and view, in pieces that survive a kill."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import weakref
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from knee.classifier.features import engines
from knee.classifier.features.engines import Engine, Forward
from knee.classifier.features.views import Views
from knee.classifier.net.design import BackboneDesign
from knee.storage import artifacts
from knee.storage.arrays import HalfFloats
from knee.storage.artifacts import ArtifactError
from knee.storage.row_files import RowFile

CHUNK_IMAGES = 512  # at most, between two marks of progress
CHUNK_BYTES = 64 * 2**20  # at most: two of them are in memory at once


class PartialFeatures:
    """A features file under construction; it outlives the process that writes it.

    What is on the disk is counted in a mark beside the file, which is renewed after each chunk.
    """

    def __init__(self, folder: Path, key: str, shape: tuple[int, ...]) -> None:
        """Take up the file of `key` in `folder`, or begin it; files of other keys are removed.

        Args:
            folder: where the file lies until it is whole.
            key: of all that decides the values.
            shape: (views, rows, ...) of the whole array.

        Raises:
            ArtifactError: another process is at work on it.
        """
        folder.mkdir(parents=True, exist_ok=True)
        self._file, self._mark = folder / f"features-{key}.npy", folder / f"features-{key}.json"
        self._row_bytes = 2 * int(np.prod(shape[2:]))
        self._lock(folder)
        for stale in folder.glob("features-*"):
            if stale not in (self._file, self._mark):
                stale.unlink()
        with self._file.open("ab") as stream:  # creates it and keeps what is there
            found = stream.tell()
        with self._file.open("r+b") as stream:
            header = {"descr": "<f2", "fortran_order": False, "shape": shape}
            np.lib.format.write_array_header_1_0(stream, header)
            self._offset = stream.tell()
            whole_rows = max(found - self._offset, 0) // self._row_bytes
            self.rows_done = min(self._marked(), whole_rows)
            stream.truncate(self._offset + self.rows_done * self._row_bytes)

    def append(self, features: HalfFloats) -> None:
        """Add rows, and mark them as done once they are on the disk."""
        with artifacts.naming(self._file), self._file.open("ab") as stream:
            stream.write(features.data)
            stream.flush()
            os.fsync(stream.fileno())
        self.rows_done += len(features)
        artifacts.write_json(self._mark, {"rows_done": self.rows_done})

    def finish(self, destination: Path) -> None:
        """Move the whole file to `destination`."""
        shutil.move(self._file, destination)
        self._mark.unlink(missing_ok=True)

    def _marked(self) -> int:
        try:
            return int(json.loads(self._mark.read_text(encoding="utf-8"))["rows_done"])
        except (OSError, ValueError, KeyError, TypeError):
            return 0

    def _lock(self, folder: Path) -> None:
        descriptor = os.open(folder, os.O_RDONLY)
        weakref.finalize(self, os.close, descriptor)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ArtifactError(
                f"{folder} is in use: another embed of the same backbone is running; "
                "wait for it, or end it"
            ) from error


def frozen_forward(design: BackboneDesign, engine: Engine) -> tuple[Forward, dict[str, Any]]:
    """The frozen part of `design` ready to run, and what has to be known about its results.

    Raises:
        DesignError: unknown backbone or layer, or missing weights.
    """
    engines.prepare(engine)
    from knee.classifier.net import (
        backbones,
        cut,  # Keras: the engine has to be prepared before
    )

    origin = {
        "engine": engine.name,
        "precision": engine.precision,
        "versions": engine.versions,
        "weights": backbones.weights_fingerprint(design.weights, design.name),
    }
    if engine.name == "openvino":
        return engines.OpenVinoForward(cut.frozen_part(design), engine.precision), origin
    from knee.classifier.net import devices  # TensorFlow: only where it is the engine

    strategy = devices.strategy()
    devices.set_precision("none" if engine.precision == "float32" else engine.precision)
    with strategy.scope():
        return engines.TensorFlowForward(cut.frozen_part(design), strategy), origin


def embed(
    forward: Forward, pixels: RowFile, views: Views, partial: Path, key: str, out: Path
) -> tuple[int, ...]:
    """Write the outputs of `forward` for all `views` of `pixels` to the file `out`.

    Args:
        forward: uint8 images -> features.
        pixels: (1, rows, side, side); a chunk is in memory at a time.
        views: of each image.
        partial: folder for the unfinished file.
        key: of all that decides the values: an unfinished file of another key is discarded.
        out: .npy, float16 (views, rows, ...).

    Returns:
        The shape of the written array.

    Raises:
        ArtifactError: features that float16 cannot hold, or another process at work.
    """
    shape = (len(views.kinds), len(pixels), *forward.output_shape)
    unfinished = PartialFeatures(partial, key, shape)
    total = shape[0] * shape[1]
    at_once = chunk_images(forward.output_shape)
    done = unfinished.rows_done
    with (
        ThreadPoolExecutor(1) as writer,
        tqdm(total=total, initial=done, unit="image", desc="embed", disable=None) as bar,
    ):
        written: Future[None] | None = None
        while done < total:
            view, row = divmod(done, len(pixels))
            images = views.make(pixels.slice(row, row + at_once), row, view)
            values = np.empty((len(images), *forward.output_shape), np.float16)
            forward.fill(images, values)
            _check(values, row)
            if written is not None:
                written.result()
            written = writer.submit(unfinished.append, values)
            done += len(images)
            bar.update(len(images))
        if written is not None:
            written.result()
    unfinished.finish(out)
    return shape


def chunk_images(output_shape: tuple[int, ...]) -> int:
    """Images whose features fill a chunk."""
    return max(min(CHUNK_IMAGES, CHUNK_BYTES // (2 * int(np.prod(output_shape)))), 1)


def _check(values: HalfFloats, row: int) -> None:
    if not np.isfinite(values).all():
        raise ArtifactError(
            f"features of rows {row} to {row + len(values) - 1} exceed what float16 holds: check "
            "the weights, or cut the backbone elsewhere (model.train_from)"
        )
