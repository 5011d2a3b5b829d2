"""Rows of arrays on disk."""

from pathlib import Path

import numpy as np
import pytest

from knee.storage import row_files
from knee.storage.artifacts import ArtifactError


def test_a_pixel_file_gives_the_images_of_the_array_and_refuses_other_rows(tmp_path: Path) -> None:
    path = tmp_path / "pixels.npy"
    pixels = np.random.default_rng(0).integers(0, 256, (5, 8, 8), np.uint8)
    np.save(path, pixels)
    file = row_files.PixelFile(path, np.arange(5))
    assert file.shape == pixels.shape
    for row in (0, 4, 2):
        np.testing.assert_array_equal(file[row], pixels[row])
    with pytest.raises(ArtifactError, match="run the ingest stage"):
        row_files.PixelFile(path, np.array([5]))
