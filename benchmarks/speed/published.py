"""The published recipe as it is, in plain Keras; its cost from measured steps.

python -m benchmarks.speed.published --backbone mobilenet --data FOLDER --weights FOLDER --steps 20

Every image passes through the frozen backbone and the head in every epoch, decoded by tf.data
each time. Prints one JSON object. With --epochs it trains to the end as well, afresh, and tells
the seconds and the test accuracy of that beside the extrapolation.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.model_selection import train_test_split

from knee.run import command

BATCH, SIDE, SEED = 16, 224, 42
EPOCHS_PUBLISHED = 9  # both of its trainings stopped after nine
WARM_UP_STEPS = 3


def main() -> None:
    """Measure some steps, or train."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=command.Help)
    parser.add_argument(
        "--backbone", choices=("mobilenet", "xception"), required=True, help="to train"
    )
    parser.add_argument("--data", type=Path, required=True, help="folder of class folders")
    parser.add_argument("--weights", type=Path, required=True, help="folder with <backbone>.h5")
    parser.add_argument("--steps", type=int, default=20, help="to measure")
    parser.add_argument("--epochs", type=int, default=0, help="to train, too")
    chosen = parser.parse_args()
    start = time.perf_counter()
    subsets = split(chosen.data)
    model = build(chosen.backbone, chosen.weights / f"{chosen.backbone}.h5", subsets["classes"])
    ready = time.perf_counter() - start
    found = extrapolate(model, subsets, chosen.steps)
    if chosen.epochs:
        model = build(chosen.backbone, chosen.weights / f"{chosen.backbone}.h5", subsets["classes"])
        whole = train(model, subsets, chosen.epochs)
        found |= {"extrapolated_seconds": found["training_seconds"], **whole}
    print(json.dumps({"start_seconds": round(ready, 2), **found}))


def split(data: Path) -> dict[str, Any]:
    """Its stratified 80/10/10 split of files; RandomOverSampler before it changes nothing."""
    names = sorted(path.name for path in data.iterdir() if path.is_dir())
    pairs = [(str(p), n) for n, c in enumerate(names) for p in sorted((data / c).iterdir())]
    files, labels = np.array([p for p, _ in pairs]), np.array([n for _, n in pairs])
    train, rest = train_test_split(
        np.arange(len(files)), train_size=0.8, stratify=labels, random_state=SEED
    )
    val, test = train_test_split(rest, train_size=0.5, stratify=labels[rest], random_state=SEED)
    parts = {"train": train, "val": val, "test": test}
    return {"classes": len(names), **{k: (files[v], labels[v]) for k, v in parts.items()}}


def batches(part: tuple[Any, Any], *, shuffle: bool = False) -> Any:
    """tf.data: read, decode, RGB, 224 x 224, 1/255."""
    import tensorflow as tf

    def load(path: Any, label: Any) -> Any:
        image = tf.io.decode_image(tf.io.read_file(path), channels=3, expand_animations=False)
        return tf.image.resize(image, (SIDE, SIDE)) / 255.0, label

    data = tf.data.Dataset.from_tensor_slices(part)
    if shuffle:
        data = data.shuffle(len(part[0]), seed=SEED)
    return data.map(load, num_parallel_calls=tf.data.AUTOTUNE).batch(BATCH).prefetch(2)


def build(backbone: str, weights: Path, classes: int) -> Any:
    """Frozen backbone, its attention head, compiled."""
    import keras
    from keras import layers

    keras.utils.set_random_seed(SEED)
    nets = {"mobilenet": keras.applications.MobileNet, "xception": keras.applications.Xception}
    base = nets[backbone](include_top=False, weights=str(weights), input_shape=(SIDE, SIDE, 3))
    base.trainable = False
    pixels = keras.Input((SIDE, SIDE, 3))
    hidden = base(pixels, training=False)
    channels = hidden.shape[-1]
    if backbone == "mobilenet":
        gate = layers.GlobalAveragePooling2D(keepdims=True)(hidden)
        gate = layers.Dense(channels // 16, activation="relu")(gate)
        hidden = layers.Multiply()([hidden, layers.Dense(channels, activation="sigmoid")(gate)])
    tokens = layers.Reshape((-1, channels))(hidden)
    tokens = layers.MultiHeadAttention(8, channels)(tokens, tokens)
    hidden = layers.Reshape((7, 7, channels))(tokens)
    hidden = layers.GlobalAveragePooling2D()(layers.GaussianNoise(0.25)(hidden))
    hidden = layers.BatchNormalization()(layers.Dense(512, activation="relu")(hidden))
    outputs = layers.Dense(classes, activation="softmax")(layers.Dropout(0.25)(hidden))
    model = keras.Model(pixels, outputs)
    model.compile(
        optimizer=keras.optimizers.Adam(1e-4),
        loss="sparse_categorical_crossentropy",
        metrics=["accuracy"],
    )
    return model


def extrapolate(model: Any, subsets: dict[str, Any], steps: int) -> dict[str, Any]:
    """Seconds of the nine epochs from the mean of `steps` training and validation steps."""
    train = batches(subsets["train"], shuffle=True).repeat()
    model.fit(train, steps_per_epoch=WARM_UP_STEPS, verbose=0)
    start = time.perf_counter()
    model.fit(train, steps_per_epoch=steps, verbose=0)
    step = (time.perf_counter() - start) / steps
    held = batches(subsets["val"]).repeat()
    model.evaluate(held, steps=WARM_UP_STEPS, verbose=0)
    start = time.perf_counter()
    model.evaluate(held, steps=steps, verbose=0)
    check = (time.perf_counter() - start) / steps
    counts = {name: -(-len(subsets[name][0]) // BATCH) for name in ("train", "val")}
    epoch = counts["train"] * step + counts["val"] * check
    return {
        "measured_steps": steps,
        "step_seconds": round(step, 4),
        "validation_step_seconds": round(check, 4),
        "epoch_seconds": round(epoch, 1),
        "epochs": EPOCHS_PUBLISHED,
        "training_seconds": round(EPOCHS_PUBLISHED * epoch, 1),
        "extrapolated": True,
    }


def train(model: Any, subsets: dict[str, Any], epochs: int) -> dict[str, Any]:
    """The whole training, with its early stopping, and the test accuracy."""
    import keras

    stop = keras.callbacks.EarlyStopping("val_loss", patience=5, restore_best_weights=True)
    tell = keras.callbacks.LambdaCallback(on_epoch_end=_tell)
    start = time.perf_counter()
    history = model.fit(
        batches(subsets["train"], shuffle=True),
        validation_data=batches(subsets["val"]),
        epochs=epochs,
        callbacks=[stop, tell],
        verbose=0,
    )
    seconds = time.perf_counter() - start
    _, accuracy = model.evaluate(batches(subsets["test"]), verbose=0)
    return {
        "epochs": len(history.epoch),
        "best_epoch": int(np.argmin(history.history["val_loss"])) + 1,
        "training_seconds": round(seconds, 1),
        "test_accuracy": round(float(accuracy), 4),
        "extrapolated": False,
    }


def _tell(epoch: int, logs: dict[str, float]) -> None:
    figures = "  ".join(f"{name} {value:.3f}" for name, value in logs.items())
    sys.stderr.write(f"epoch {epoch + 1}  {figures}\n")


if __name__ == "__main__":
    main()
