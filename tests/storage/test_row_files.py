"""Arrays on disk: shards of rows, their writer and their reader."""

from __future__ import annotations

import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest

from knee.storage import row_files
from knee.storage.arrays import Pixels
from knee.storage.artifacts import ArtifactError
from tests import shards


@pytest.fixture(autouse=True)
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(row_files, "SHARD_ROWS", 4)


def drawn(count: int) -> Pixels:
    return np.random.default_rng(0).integers(0, 256, (count, 8, 8), np.uint8)


@pytest.mark.parametrize("count", [0, 1, 3, 4, 5, 8, 11])
def test_shards_are_the_rows_in_order_by_numpys_own_bytes(tmp_path: Path, count: int) -> None:
    images, folder = drawn(count), tmp_path / "new" / "pixels"
    with row_files.written_rows(folder, (8, 8), np.uint8) as array:
        assert [array.append(image) for image in images] == list(range(count))
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["pixels"]
    assert len([*folder.iterdir()]) == max(1, -(-count // 4))
    for number, path in enumerate(sorted(folder.iterdir())):
        np.save(tmp_path / "numpy.npy", images[4 * number : 4 * number + 4])
        assert path.read_bytes() == (tmp_path / "numpy.npy").read_bytes()
    file = row_files.PixelFile(folder, np.arange(count))
    assert (file.shape, len(file)) == ((count, 8, 8), count)
    np.testing.assert_array_equal(file[:], images)


def test_rows_are_cut_into_shards_alike_however_they_arrive(tmp_path: Path) -> None:
    images = drawn(11)
    for name, sizes in {"one": (11,), "some": (3, 3, 5), "many": (1,) * 11}.items():
        with row_files.written_rows(tmp_path / name, (8, 8), np.uint8) as array:
            for part in np.split(images, np.cumsum(sizes)[:-1]):
                array.extend(part)
    assert shards.content(tmp_path / "one") == shards.content(tmp_path / "some")
    assert shards.content(tmp_path / "one") == shards.content(tmp_path / "many")


def test_a_row_can_be_replaced_in_a_shard_that_is_finished_and_in_one_that_is_not(
    tmp_path: Path,
) -> None:
    images = drawn(6)
    with row_files.written_rows(tmp_path / "rows", (8, 8), np.uint8) as array:
        array.extend(np.zeros_like(images))
        for number in (1, 5, 4, 0, 3, 2):
            array.replace(number, images[number])
        with pytest.raises(ValueError, match="row 6 of 6"):
            array.replace(6, images[0])
    np.testing.assert_array_equal(shards.load(tmp_path / "rows"), images)


def test_each_shard_is_told_once_when_it_is_whole(tmp_path: Path) -> None:
    told: list[tuple[str, int]] = []

    def tell(path: Path) -> None:
        told.append((path.name, len(np.load(path))))

    with row_files.written_rows(tmp_path / "rows", (8, 8), np.uint8, tell) as array:
        array.extend(drawn(10))
        assert told == [("00000.npy", 4), ("00001.npy", 4)]
    assert told == [("00000.npy", 4), ("00001.npy", 4), ("00002.npy", 2)]


def test_an_interruption_leaves_the_earlier_array_alone(tmp_path: Path) -> None:
    shards.save(tmp_path / "pixels", drawn(5))
    before = shards.content(tmp_path / "pixels")

    def interrupted() -> None:
        with row_files.written_rows(tmp_path / "pixels", (4, 4), np.uint8) as array:
            array.extend(np.zeros((9, 4, 4), np.uint8))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert [path.name for path in tmp_path.iterdir()] == ["pixels"]
    assert shards.content(tmp_path / "pixels") == before


@pytest.mark.parametrize("image", [np.zeros((4, 5), np.uint8), np.zeros((4, 4), np.float32)])
def test_another_shape_or_dtype_is_refused(tmp_path: Path, image: Pixels) -> None:
    with (
        pytest.raises(ValueError, match=r"expected uint8 \(4, 4\)"),
        row_files.written_rows(tmp_path / "pixels", (4, 4), np.uint8) as array,
    ):
        array.append(image)


def test_a_pixel_file_gives_the_images_of_the_array_and_refuses_other_rows(tmp_path: Path) -> None:
    pixels = drawn(9)
    shards.save(tmp_path / "pixels", pixels)
    file = row_files.PixelFile(tmp_path / "pixels", np.arange(9))
    for row in (0, 8, 4):
        np.testing.assert_array_equal(file[row], pixels[row])
    np.testing.assert_array_equal(file[np.int64(3)], pixels[3])  # type: ignore[index]
    np.testing.assert_array_equal(file[np.array([8, 0, 8])], pixels[[8, 0, 8]])
    np.testing.assert_array_equal(file[3:7], pixels[3:7])
    with pytest.raises(ArtifactError, match="run the ingest stage"):
        row_files.PixelFile(tmp_path / "pixels", np.array([9]))


def test_more_shards_are_read_than_may_be_open_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("knee.storage.numbered_files.MOST_OPEN", 2)
    images = drawn(30)
    shards.save(tmp_path / "rows", images)
    rows = np.random.default_rng(1).permutation(np.tile(np.arange(30), 3))
    file = row_files.PixelFile(tmp_path / "rows", rows)
    np.testing.assert_array_equal(file[rows], images[rows])


def spoiled_by_a_missing_shard(folder: Path) -> None:
    (folder / "00001.npy").unlink()


def spoiled_by_a_short_shard(folder: Path) -> None:
    np.save(folder / "00000.npy", drawn(3))


def spoiled_by_a_shard_of_another_shape(folder: Path) -> None:
    np.save(folder / "00001.npy", np.zeros((4, 9, 9), np.uint8))


def spoiled_by_another_file(folder: Path) -> None:
    (folder / "notes.txt").touch()


def spoiled_by_its_absence(folder: Path) -> None:
    shutil.rmtree(folder)


@pytest.mark.parametrize(
    "spoil",
    [
        spoiled_by_a_missing_shard,
        spoiled_by_a_short_shard,
        spoiled_by_a_shard_of_another_shape,
        spoiled_by_another_file,
        spoiled_by_its_absence,
    ],
)
def test_shards_that_are_no_array_are_one_message(tmp_path: Path, spoil: object) -> None:
    assert callable(spoil)
    shards.save(tmp_path / "rows", drawn(10))
    spoil(tmp_path / "rows")
    with pytest.raises(ArtifactError, match=r"rows.*run `dvc repro`"):
        row_files.RowFile(tmp_path / "rows", has_views=False)


def test_elsewhere_the_same_path_has_to_hold_the_same_values(tmp_path: Path) -> None:
    shards.save(tmp_path / "rows", drawn(10))
    sent = pickle.dumps(row_files.RowFile(tmp_path / "rows", has_views=False))
    np.testing.assert_array_equal(pickle.loads(sent).of_rows(np.arange(10)), drawn(10))
    shards.save(tmp_path / "rows", drawn(10)[::-1])
    with pytest.raises(ArtifactError, match=r"has other values .* give execution\.files=sent"):
        pickle.loads(sent)
    shutil.rmtree(tmp_path / "rows")
    with pytest.raises(ArtifactError, match=r"is not on .* give execution\.files=sent"):
        pickle.loads(sent)
