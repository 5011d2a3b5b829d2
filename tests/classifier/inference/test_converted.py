"""Converted nets are kept between starts, and a damaged or foreign one is never used."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from knee.classifier.inference import converted

DIGEST = "0" * 64


class Converter:
    """Writes a graph, and counts how often it is asked to."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, graph: Path) -> None:
        self.calls += 1
        graph.write_text("net")
        graph.with_suffix(".bin").write_bytes(b"weights")


def used(cache: Path | None, convert: Converter, digest: str = DIGEST) -> tuple[str, bytes]:
    with converted.graph(digest, cache, convert) as graph:
        return graph.read_text(), graph.with_suffix(".bin").read_bytes()


def test_a_model_is_converted_once_and_gives_the_converted_bytes(tmp_path: Path) -> None:
    convert = Converter()
    found = {used(tmp_path / "cache", convert) for _ in range(3)}
    assert (found, convert.calls) == ({("net", b"weights")}, 1)
    used(tmp_path / "cache", convert, "1" * 64)
    assert convert.calls == 2, "another model has a graph of its own"


@pytest.mark.parametrize(
    "damage",
    [
        lambda folder: (folder / "graph.bin").write_bytes(b"weightz"),
        lambda folder: (folder / "graph.xml").write_text(""),
        lambda folder: (folder / "graph.bin").unlink(),
        lambda folder: (folder / "more.bin").write_bytes(b"foreign"),
        lambda folder: (folder / "digests.json").write_text("{"),
    ],
)
def test_a_damaged_or_foreign_graph_is_made_again(
    tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    convert = Converter()
    used(tmp_path, convert)
    (folder,) = (file.parent for file in tmp_path.glob("*/graph.xml"))
    damage(folder)
    assert used(tmp_path, convert) == ("net", b"weights")
    assert convert.calls == 2
    assert len([*folder.iterdir()]) == 3


def test_old_graphs_go_and_nothing_stays_without_a_cache(tmp_path: Path) -> None:
    convert = Converter()
    for number in range(converted.KEPT + 2):
        used(tmp_path, convert, str(number) * 64)
    assert len([*tmp_path.iterdir()]) == converted.KEPT
    used(None, convert)
    used(None, convert)
    assert convert.calls == converted.KEPT + 4
