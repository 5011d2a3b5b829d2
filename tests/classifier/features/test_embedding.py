"""Embedding: bounded, resumable, the same bytes whatever happened on the way."""

from __future__ import annotations

import json
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from knee.classifier.features import embedding, feature_source
from knee.classifier.features.views import Views
from knee.storage import artifacts, row_files
from knee.storage.arrays import HalfFloats, Integers
from knee.storage.known_results import KnownResults
from tests import shards

SIDE, ROWS = 6, 23


class KilledError(RuntimeError):
    """What a test raises in the middle of an embedding."""


class Means:
    """A net of two outputs: mean, and the brightness of the left column."""

    output_shape: tuple[int, ...] = (1, 1, 2)

    def __init__(self, dies_after: int = -1) -> None:
        self.seen = 0
        self._left = dies_after

    def fill(self, images: npt.NDArray[np.uint8], out: npt.NDArray[Any]) -> None:
        if self._left == 0:
            raise KilledError
        self._left -= 1
        self.seen += len(images)
        out[:, 0, 0, 0] = images.mean(axis=(1, 2))
        out[:, 0, 0, 1] = images[:, :, 0].mean(axis=1)


@pytest.fixture
def pixels(small: None, tmp_path: Path) -> row_files.RowFile:
    del small
    images = np.random.default_rng(0).integers(0, 256, (ROWS, SIDE, SIDE), np.uint8)
    shards.save(tmp_path / "pixels", images)
    return row_files.RowFile(tmp_path / "pixels", has_views=False)


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedding, "CHUNK_IMAGES", 4)
    monkeypatch.setattr(row_files, "SHARD_ROWS", 8)


def run(
    net: Means,
    pixels: row_files.RowFile,
    views: Views,
    out: Path,
    known: KnownResults | None = None,
    rows: Integers | None = None,
) -> None:
    def compute(blocks: Iterator[embedding.Block]) -> Iterator[HalfFloats]:
        for block in blocks:
            values = np.empty((len(block.images), *net.output_shape), np.float16)
            if len(values):
                net.fill(block.images, values)
            yield values

    rows = np.arange(len(pixels)) if rows is None else rows
    embedding.embed(compute, net.output_shape, pixels, rows, views, out, known)


def embed(pixels: row_files.RowFile, folder: Path, net: Means, augmented: int = 1) -> bytes:
    """The bytes of the features file."""
    folder.mkdir(exist_ok=True)
    views = Views(mirrored=True, augmented=augmented)
    run(net, pixels, views, folder / "features")
    return shards.content(folder / "features")


def test_features_are_those_of_each_view(pixels: row_files.RowFile, tmp_path: Path) -> None:
    embed(pixels, tmp_path / "one", Means())
    values = shards.load(tmp_path / "one" / "features").swapaxes(0, 1)
    images = shards.load(tmp_path / "pixels")
    assert values.shape == (3, ROWS, 1, 1, 2)
    np.testing.assert_array_equal(
        values[0, :, 0, 0, 1], images[:, :, 0].mean(axis=1).astype(np.float16)
    )
    np.testing.assert_array_equal(
        values[1, :, 0, 0, 1], images[:, :, -1].mean(axis=1).astype(np.float16)
    )
    assert not np.array_equal(values[2], values[0])


def test_features_are_of_the_asked_images_alone_and_have_the_bits_of_a_whole_run(
    pixels: row_files.RowFile, tmp_path: Path
) -> None:
    views, images = Views(mirrored=True, augmented=1), np.array([1, 2, 7, 8, 9, 15, 20])
    run(Means(), pixels, views, tmp_path / "whole")
    net, some = Means(), tmp_path / "some"
    some.mkdir()
    with KnownResults(tmp_path / "known", {}) as known:
        run(net, pixels, views, some / "features", known, images)
    assert net.seen == 3 * len(images)
    feature_source.write_images(images, some)
    (some / "embedding.json").write_text(json.dumps({"views": views.kinds}))
    source = feature_source.open_source(some, tmp_path / "pixels")
    asked = np.array([9, 1, 20, 9])
    expected = shards.load(tmp_path / "whole")[asked, 2]
    for one in (source, source.in_memory(), pickle.loads(pickle.dumps(source))):
        np.testing.assert_array_equal(one.take(np.full(4, 2), asked), expected)
        for row in (0, 10, 99):
            with pytest.raises(artifacts.ArtifactError, match=f"no features .* row {row} of"):
                one.take(np.zeros(2, np.int64), np.array([1, row]))
    with KnownResults(tmp_path / "known", {}) as known:  # what was known is found elsewhere
        run(net, pixels, views, tmp_path / "again", known)
    assert net.seen == 3 * ROWS
    assert shards.content(tmp_path / "again") == shards.content(tmp_path / "whole")


def test_a_killed_embedding_leaves_nothing_and_the_next_starts_afresh(
    pixels: row_files.RowFile, tmp_path: Path
) -> None:
    whole = embed(pixels, tmp_path / "whole", Means())
    with pytest.raises(KilledError):
        embed(pixels, tmp_path / "killed", Means(3))
    assert not list((tmp_path / "killed").iterdir())
    assert embed(pixels, tmp_path / "killed", Means()) == whole


def test_only_images_that_are_not_known_are_embedded_and_the_bytes_are_the_same(
    pixels: row_files.RowFile, tmp_path: Path
) -> None:
    views, whole = Views(mirrored=True), tmp_path / "whole"
    run(Means(), pixels, views, whole)
    images = shards.load(tmp_path / "pixels")
    order = [*range(20, 3, -1)]
    shards.save(tmp_path / "some", images[order])
    some = row_files.RowFile(tmp_path / "some", has_views=False)
    seen = []
    for rows in (some, pixels, pixels):
        net, out = Means(), tmp_path / "out"
        with KnownResults(tmp_path / "known", {}) as known:
            run(net, rows, views, out, known)
        seen.append(net.seen)
    assert shards.content(out) == shards.content(whole)
    assert seen == [2 * len(order), 2 * (ROWS - len(order)), 0]


def test_a_killed_embedding_goes_on_with_its_finished_shards(
    pixels: row_files.RowFile, tmp_path: Path
) -> None:
    views = Views(mirrored=True)
    run(Means(), pixels, views, tmp_path / "whole")
    killed, again, out = Means(4), Means(), tmp_path / "out"
    with pytest.raises(KilledError), KnownResults(tmp_path / "known", {}) as known:
        run(killed, pixels, views, out, known)  # ends in the fifth of six chunks
    with KnownResults(tmp_path / "known", {}) as known:
        run(again, pixels, views, out, known)
    assert shards.content(out) == shards.content(tmp_path / "whole")
    assert again.seen == 2 * (ROWS - 8)  # the second shard was not written yet


def test_features_beyond_float16_are_an_error(pixels: row_files.RowFile, tmp_path: Path) -> None:
    class Huge(Means):
        def fill(self, images: npt.NDArray[np.uint8], out: npt.NDArray[Any]) -> None:
            del images
            out[...] = np.inf

    with pytest.raises(artifacts.ArtifactError, match="float16"):
        embed(pixels, tmp_path / "one", Huge())


@given(st.integers(1, 40), st.integers(1, 60))
def test_a_chunk_holds_at_least_an_image_and_at_most_its_bytes(side: int, channels: int) -> None:
    shape = (side, side, 1000 * channels)
    images = embedding.chunk_images(shape)
    assert images == 1 or 2 * images * int(np.prod(shape)) <= embedding.CHUNK_BYTES


def test_augmented_views_depend_on_the_row_alone() -> None:
    images = np.random.default_rng(1).integers(0, 256, (6, 32, 32), np.uint8)
    views = Views(mirrored=False, augmented=2)
    rows = np.arange(10, 16)
    together = views.make(images, rows, 1)
    apart = np.concatenate(
        [views.make(images[some], rows[some], 1) for some in (slice(2), slice(2, 6))]
    )
    np.testing.assert_array_equal(together, apart)
    assert not np.array_equal(together, views.make(images, rows, 2))
    assert views.kinds == ("image", "augmented", "augmented")


def test_augmented_views_show_the_same_picture() -> None:
    rows, columns = np.mgrid[:64, :64]
    film = (255 * np.exp(-((rows - 32) ** 2 + (columns - 32) ** 2) / 200)).astype(np.uint8)
    views = Views(mirrored=True, augmented=5)
    for view in range(2, 7):
        changed = views.make(film[np.newaxis], np.zeros(1, np.int64), view)[0]
        assert np.corrcoef(changed.ravel(), film.ravel())[0, 1] > 0.97


def test_rows_are_read_as_written(tmp_path: Path) -> None:
    values = np.random.default_rng(0).normal(size=(2, 5, 3, 2)).astype(np.float16)
    shards.save(tmp_path / "values", values.swapaxes(0, 1))
    file = row_files.RowFile(tmp_path / "values", has_views=True)
    rows, chosen = np.array([4, 0, 4]), np.array([1, 0, 0])
    np.testing.assert_array_equal(file.take(chosen, rows), values[chosen, rows])
    np.testing.assert_array_equal(file.of_rows(np.array([3, 4])), values[0, 3:])


@pytest.mark.parametrize(("view", "row"), [(0, 5), (2, 0), (0, -1), (-1, 0)])
def test_a_row_that_is_not_there_is_named(tmp_path: Path, view: int, row: int) -> None:
    shards.save(tmp_path / "values", np.zeros((5, 2, 3), np.float16))
    file = row_files.RowFile(tmp_path / "values", has_views=True)
    with pytest.raises(artifacts.ArtifactError, match=f"has no row {row}"):
        file.take(np.array([view]), np.array([row]))


def test_features_and_their_record_have_to_agree(tmp_path: Path) -> None:
    shards.save(tmp_path / "features", np.zeros((5, 2, 3), np.float16))
    with pytest.raises(artifacts.ArtifactError, match=r"embedding\.json does not exist"):
        feature_source.open_source(tmp_path, tmp_path / "none")
    (tmp_path / "embedding.json").write_text('{"views": ["image", "mirror"]}')
    for images in (np.arange(4), np.array([0, 1, 3, 2, 4])):
        feature_source.write_images(images, tmp_path)
        with pytest.raises(artifacts.ArtifactError, match=r"images\.npy does not name 5 images"):
            feature_source.open_source(tmp_path, tmp_path / "none")
    (tmp_path / "embedding.json").write_text('{"views": ["image"]}')
    with pytest.raises(artifacts.ArtifactError, match=r"has 2 views, .* tells of 1"):
        feature_source.open_source(tmp_path, tmp_path / "none")
