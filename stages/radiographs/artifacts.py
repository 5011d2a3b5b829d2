"""Outputs on disk: written beside, then moved into place, so that none is ever half there."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any


def write_text(path: Path, text: str) -> None:
    """Write `text` as UTF-8 to `path`; its folder is made where it is missing."""
    write_bytes(path, text.encode("utf-8"))


def write_bytes(path: Path, content: bytes) -> None:
    """Write `content` to `path`; its folder is made where it is missing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_bytes(content)
    temporary.replace(path)


def write_json(path: Path, values: Mapping[str, Any]) -> None:
    """Write `values`, indented, in their own order; NaN is refused."""
    write_text(path, json.dumps(values, indent=2, allow_nan=False) + "\n")


@contextmanager
def staged_folder(destination: Path) -> Iterator[Path]:
    """A folder beside `destination` that takes its place once the block has ended well."""
    staged = destination.with_name(f".{destination.name}.staged")
    shutil.rmtree(staged, ignore_errors=True)
    staged.mkdir(parents=True)
    yield staged
    shutil.rmtree(destination, ignore_errors=True)
    staged.replace(destination)
