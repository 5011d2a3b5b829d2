"""Shortcuts: features that are not bone but may give the label away, and how each is learned.

A shortcut is a table of features, one row a record, and a learner. A learner is bound to training
and test rows once and then fitted to any labels of them, so that a permutation test, which fits it
hundreds of times, does the costly part once.

scikit-learn is imported where it is used.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from knee.reading.borders import RING_SHARE
from knee.reading.canonical_image import resize
from knee.records.records_table import BORDERS
from knee.storage.arrays import Features, Integers, PixelRows, Pixels

Fitted = Callable[[Integers], Integers]  # labels of the training rows -> guesses of the test rows
Learner = Callable[[Features, Features], Fitted]  # features of the training and of the test rows

REDUCED_SIDE_PIXELS: Final = 32
RING_COMPONENTS: Final = 32  # principal components of the ring that are kept
INVERSE_PENALTY: Final = 0.1  # scikit-learn's C of the logistic regression
LEAVES, LEAF_RECORDS = 8, 5  # of the decision tree: at most, at least
ROWS_AT_ONCE: Final = 512  # test rows whose distances are held at once,
PCA_ROWS: Final = 100_000  # that principal components are fitted to, at most, evenly spread
TRAINING_ROWS_AT_ONCE: Final = 65_536  # to so many training rows

TEXTS: Final = ("mode", "format", "compression")
NUMBERS: Final = ("width", "height", "bits", "pixel_spacing_mm", *BORDERS)


@dataclass(frozen=True)
class Shortcut:
    """Features (records, n) and the learner that predicts the label from them."""

    features: Features
    learner: Learner


def shortcuts(records: pd.DataFrame, pixels: PixelRows) -> dict[str, Shortcut]:
    """Return the shortcuts of `records`, by name; `origin` only where two or more are known.

    Args:
        records: rows of the records table that have pixels, indexed 0 to n - 1.
        pixels: uint8 (rows, side, side), canonical; read at `records.pixel_row`.
    """
    ring, reduced = ring_and_whole(pixels, records["pixel_row"].to_numpy())
    found = {
        "majority": Shortcut(np.zeros((len(records), 0)), majority),
        "metadata": Shortcut(file_metadata(records), tree),
        "border": Shortcut(ring, linear),
        "nearest_neighbour": Shortcut(reduced, nearest_neighbour),
    }
    if records.loc[records["origin"] != "", "origin"].nunique() > 1:
        found["origin"] = Shortcut(_one_hot(records[["origin"]]), tree)
    return found


def file_metadata(records: pd.DataFrame) -> npt.NDArray[np.float64]:
    """Return (records, n) numbers about the file, without its pixels; unknown spacing is -1."""
    numbers = records[list(NUMBERS)].astype(np.float64).fillna(-1)
    area = (records["width"] * records["height"]).clip(lower=1)
    numbers["bytes_a_pixel"] = records["bytes"] / area
    numbers["aspect"] = records["width"] / records["height"].clip(lower=1)
    return np.hstack([numbers.to_numpy(np.float64), _one_hot(records[list(TEXTS)])])


def ring_and_whole(pixels: PixelRows, rows: Integers) -> tuple[Pixels, Pixels]:
    """Return outer ring, uint8 (rows, 448), and whole, uint8 (rows, 1024), of reduced images."""
    side = pixels.shape[1]
    edge = max(1, round(side * RING_SHARE))
    small = max(1, round(REDUCED_SIDE_PIXELS * RING_SHARE))
    outside = np.ones((REDUCED_SIDE_PIXELS, REDUCED_SIDE_PIXELS), np.bool_)
    outside[small:-small, small:-small] = False
    ring = np.empty((len(rows), int(outside.sum())), np.uint8)
    whole = np.empty((len(rows), outside.size), np.uint8)
    for number, row in enumerate(rows):
        image = np.array(pixels[row])
        whole[number] = resize(image, REDUCED_SIDE_PIXELS, REDUCED_SIDE_PIXELS).ravel()
        image[edge:-edge, edge:-edge] = 0  # before reducing: nothing of the inside may leak out
        ring[number] = resize(image, REDUCED_SIDE_PIXELS, REDUCED_SIDE_PIXELS)[outside]
    return ring, whole


def majority(_: Features, test: Features) -> Fitted:
    """Predict the most frequent class, whatever the record."""
    return lambda labels: np.full(len(test), np.bincount(labels).argmax(), np.int64)


def nearest_neighbour(train: Features, test: Features) -> Fitted:
    """Predict the class of the training row at the least Euclidean distance, first of equals."""
    rows, least = np.zeros(len(test), np.int64), np.full(len(test), np.inf, np.float32)
    for first in range(0, len(train), TRAINING_ROWS_AT_ONCE):
        known = train[first : first + TRAINING_ROWS_AT_ONCE].astype(np.float32)
        length = np.einsum("ij,ij->i", known, known)
        for start in range(0, len(test), ROWS_AT_ONCE):
            some = slice(start, start + ROWS_AT_ONCE)
            distances = length - 2 * test[some].astype(np.float32) @ known.T
            place = np.argmin(distances, 1)
            distance = np.take_along_axis(distances, place[:, np.newaxis], 1)[:, 0]
            nearer = distance < least[some]
            rows[some] = np.where(nearer, first + place, rows[some])
            least[some] = np.where(nearer, distance, least[some])
    return lambda labels: labels[rows]


def linear(train: Features, test: Features) -> Fitted:
    """Fit regularised logistic regression to whitened principal components, classes balanced."""
    from sklearn.decomposition import PCA
    from sklearn.linear_model import LogisticRegression

    components = max(1, min(RING_COMPONENTS, len(train) // 2, train.shape[1]))
    if not train.size or (train == train[0]).all():
        return majority(train, test)
    some = train[:: -(-len(train) // PCA_ROWS)]
    turned = PCA(components, whiten=True, svd_solver="full").fit(some.astype(np.float64))
    spread = turned.explained_variance_ > 0  # whitening divides by it

    def projected(rows: Features) -> Features:
        parts = [rows[start : start + PCA_ROWS] for start in range(0, len(rows), PCA_ROWS)]
        return np.concatenate(
            [turned.transform(part.astype(np.float64))[:, spread] for part in parts]
        )

    seen, unseen = projected(train), projected(test)
    model = LogisticRegression(C=INVERSE_PENALTY, max_iter=200, tol=0.01)
    return _of_model(model, seen, unseen)


def tree(train: Features, test: Features) -> Fitted:
    """Fit a small decision tree, classes weighing alike."""
    from sklearn.tree import DecisionTreeClassifier

    model = DecisionTreeClassifier(
        max_leaf_nodes=LEAVES,
        min_samples_leaf=LEAF_RECORDS,
        random_state=0,  # of the order in which equal features are tried
    )
    return _of_model(model, train, test)


def _of_model(model: Any, train: Features, test: Features) -> Fitted:
    def guess(labels: Integers) -> Integers:
        counts = np.bincount(labels)
        if (counts > 0).sum() < 2:
            return np.full(len(test), labels[0], np.int64)
        alike = len(labels) / (counts > 0).sum() / counts.clip(min=1)  # each class weighs the same
        return np.asarray(model.fit(train, labels, alike[labels]).predict(test), np.int64)

    return guess


def _one_hot(texts: pd.DataFrame) -> npt.NDArray[np.float64]:
    return pd.get_dummies(texts, prefix=list(texts.columns)).to_numpy(np.float64)
