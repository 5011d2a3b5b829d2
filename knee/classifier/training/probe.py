"""A linear probe before fine-tuning: the head alone learns on the untouched backbone's features.

A head from random weights would send its first, large gradients through the pretrained layers and
distort them: Kumar et al. 2022, https://arxiv.org/abs/2202.10054. What the trained layers of the
backbone give is computed once per row and view, into a file: the probe costs one forward pass.
"""

from __future__ import annotations

import dataclasses
import logging
import shutil
from pathlib import Path

import keras
import numpy as np

from knee.classifier.features.feature_source import Source, TrainingData
from knee.classifier.net import assembly
from knee.classifier.training import fit, inputs
from knee.classifier.training.checkpoints import Checkpoints
from knee.storage.arrays import Integers
from knee.storage.artifacts import ArtifactError
from knee.storage.row_files import RowFile, written_rows

BATCH_IMAGES = 16
log = logging.getLogger(__name__)


def train_head(
    trained: keras.Model,
    data: TrainingData,
    optimisation: fit.Optimisation,
    augmentation: inputs.Augmentation,
    checkpoints: Checkpoints,
) -> None:
    """Train the head in `trained`, and leave the layers below it as they are.

    It ends with the weights of its best epoch. Of `augmentation` features can have mixup, and the
    flip where there is a mirrored view. They lie beside the `checkpoints` meanwhile.
    """
    log.info("first only the head, on features of the untouched backbone")
    with trained.distribute_strategy.scope():
        trunk, head = assembly.split_at_feature_map(trained)
        fit.compile_model(head, optimisation)
    rows = np.unique(np.concatenate([data.training.rows, data.validation.rows]))
    path = checkpoints.folder / "probe-features"
    _write_features(trunk, data.source, rows, path)
    features = RowFile(path, has_views=True)
    source = Source(features, pixels=False, kinds=data.source.kinds, images=rows)
    data = dataclasses.replace(data, source=source)
    progress = fit.fit(head, data, optimisation, augmentation, checkpoints)
    shutil.rmtree(path)
    log.info("fine-tuning starts from the head's val_loss %.4f", progress.best_loss)


def _write_features(trunk: keras.Model, source: Source, rows: Integers, path: Path) -> None:
    """Write the outputs of `trunk`, float16 (rows, views, ...), a batch in memory at a time."""
    row_shape = (len(source.kinds), *trunk.output.shape[1:])
    with written_rows(path, row_shape, np.float16) as file:
        for start in range(0, len(rows), BATCH_IMAGES):
            batch = rows[start : start + BATCH_IMAGES]
            features = np.empty((len(batch), *row_shape), np.float16)
            for view in range(len(source.kinds)):
                values = source.take(np.full_like(batch, view), batch).astype(np.float32)
                images = values[..., np.newaxis] if source.pixels else values
                features[:, view] = trunk.predict_on_batch(images)
            if not np.isfinite(features).all():
                raise ArtifactError(
                    "the backbone's features exceed what float16 holds: check the weights, or "
                    "fine-tune without a probe (train.probe_epochs=0)"
                )
            file.extend(features)
