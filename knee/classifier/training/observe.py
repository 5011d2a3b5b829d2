"""Features and probabilities of training rows, which say where the training images lie."""

from __future__ import annotations

from typing import Final

import keras
import numpy as np
import tensorflow as tf

from knee.classifier.features.feature_source import Source
from knee.classifier.net.saved import averaged_map, joint_outputs
from knee.classifier.training.inputs import padded_batches
from knee.evidence.uncertainty.prediction_limits import Observed, split_outputs
from knee.storage.arrays import Images, Integers

BATCH_SIZE: Final = 32
MAXIMUM_IMAGES: Final = 4096  # whose features say where the training images lie


def observe(model: keras.Model, source: Source, rows: Integers, folds: int = 0) -> Observed:
    """Return what `model`, of so many `folds`, gives for `rows` of the source it learned from."""
    trained = model.layers[-1]
    made = _outputs(joint_outputs(trained), source, rows)
    return split_outputs(made, trained.output.shape[-1], folds)


def features(model: keras.Model, source: Source, rows: Integers) -> Images:
    """Return the features (rows, channels) of `observe` alone; no head is run for them."""
    return _outputs(averaged_map(model.layers[-1]), source, rows)


def _outputs(net: keras.Model, source: Source, rows: Integers) -> Images:
    forward = tf.function(lambda batch: net(batch, training=False), autograph=False)
    made = [np.asarray(forward(batch)) for batch in padded_batches(source, rows, BATCH_SIZE)]
    return np.concatenate(made)[: len(rows)]


def subsample_rows(rows: Integers) -> Integers:
    """Return at most `MAXIMUM_IMAGES` distinct rows, evenly spaced."""
    once = np.unique(rows)
    count = min(len(once), MAXIMUM_IMAGES)
    return once[np.linspace(0, len(once) - 1, count).round().astype(np.int64)]
