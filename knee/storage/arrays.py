"""The array types of the whole project; shapes stand in the docstrings of those who use them."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8]  # gray values, 0 black to 255 white


class PixelRows(Protocol):
    """Images, uint8 (n, side, side), one at a time: an array of them, or a file."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Number of images and their sides."""

    def __getitem__(self, row: int, /) -> Pixels: ...


Images = npt.NDArray[np.float32]  # images or parts of them, to calculate with
Maps = npt.NDArray[np.float32]  # a value a pixel: attribution, or the share that is bone
Integers = npt.NDArray[np.int64]  # row numbers, class indices, group numbers, counts
Floats = npt.NDArray[np.float64]
AnyFloats = npt.NDArray[np.floating[Any]]  # of the precision that the caller has
HalfFloats = npt.NDArray[np.float16]  # features as they are kept on disk
Features = npt.NDArray[Any]  # (rows, columns) numbers that a learner takes
Truth = npt.NDArray[np.integer[Any]]  # (rows,) class indices
Probabilities = npt.NDArray[np.floating[Any]]  # (rows, classes), each row sums to 1
