"""Nets converted for OpenVINO, kept from one start of a command to the next.

TensorFlow's start and the conversion take most of the time of a short prediction. A kept graph is
named by the model's digest and by all else that decides it, and has the digests of its files beside
it: a damaged one is made again.
"""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from knee.classifier.features.engines import Engine
from knee.classifier.net import trained_model
from knee.run import locks
from knee.storage import artifacts, provenance

GRAPH: Final = "graph.xml"  # its weights lie beside it, in graph.bin
DIGESTS: Final = "digests.json"
KEPT: Final = 4  # graphs; the oldest go
CONVERSION_SECONDS: Final = 600.0  # by another process, on a busy machine
OUTPUTS: Final = Path(trained_model.__file__).with_name("saved.py")  # what a graph answers

log = logging.getLogger(__name__)


@contextlib.contextmanager
def graph(sha256: str, cache: Path | None, convert: Callable[[Path], None]) -> Iterator[Path]:
    """Give the path of the graph (.xml) of the model file with the digest `sha256`.

    Args:
        sha256: of the .keras file, which the caller has checked.
        cache: folder of kept graphs; the graph is temporary where that is None or not writable.
        convert: writes the graph to a path.
    """
    if cache is None or not _can_be_written(cache):
        with tempfile.TemporaryDirectory() as temporary:
            convert(Path(temporary) / GRAPH)
            yield Path(temporary) / GRAPH
        return
    versions = {
        **Engine("openvino", "float32").versions,
        **Engine("tensorflow", "float32").versions,
    }
    name = provenance.key({"model": sha256, "by": versions, "as": provenance.fingerprint(OUTPUTS)})
    folder = cache / name
    with locks.held(cache / f"{name}.lock", "the model's conversion", CONVERSION_SECONDS):
        if not _is_whole(folder):
            log.info("converting the model, which is kept in %s", folder)
            with artifacts.staged_folder(folder) as staged:
                convert(staged / GRAPH)
                artifacts.write_json(staged / DIGESTS, _digests(staged))
            _keep_newest(cache)
    yield folder / GRAPH


def _can_be_written(cache: Path) -> bool:
    nearest = next(folder for folder in (cache, *cache.parents) if folder.exists())
    return os.access(nearest, os.W_OK)


def _digests(folder: Path) -> dict[str, str]:
    files = sorted(file for file in folder.iterdir() if file.name != DIGESTS)
    return {file.name: provenance.fingerprint(file) for file in files}


def _is_whole(folder: Path) -> bool:
    try:
        recorded = artifacts.read_json(folder / DIGESTS, (GRAPH,))
        return recorded == _digests(folder)
    except (artifacts.ArtifactError, OSError):
        return False


def _keep_newest(cache: Path) -> None:
    made = sorted(cache.glob(f"*/{DIGESTS}"), key=lambda file: file.stat().st_mtime)
    for file in made[:-KEPT]:
        shutil.rmtree(file.parent, ignore_errors=True)
