"""GPUs -> a distribution strategy, and reproducible arithmetic."""

from __future__ import annotations

from typing import Literal

import keras
import tensorflow as tf

Precision = Literal["none", "bfloat16", "float16"]


def strategy(devices: int = 0, *, kind: str = "GPU") -> tf.distribute.Strategy:
    """`MirroredStrategy` over `devices` devices (0: all visible); the default one for fewer than 2.

    Raises:
        ValueError: more devices are asked for than are visible.
    """
    names = [device.name for device in tf.config.list_logical_devices(kind)]
    if devices > max(len(names), 1):
        raise ValueError(f"train.devices: {devices} asked for, {len(names)} {kind}s are visible")
    chosen = names[: devices or len(names)]
    if len(chosen) < 2:
        return tf.distribute.get_strategy()
    return tf.distribute.MirroredStrategy(chosen)


def make_deterministic(seed: int) -> None:
    """Same seed, same machine -> same numbers, but for the gap below.

    Xception trained as a whole on processors differs in the last digits from process to process,
    and so in its epochs: docs/log.md, 2026-11-24.
    """
    keras.utils.set_random_seed(seed)
    tf.config.experimental.enable_op_determinism()


def set_precision(precision: Precision) -> None:
    """Compute in `precision` with float32 variables; "none" is float32 throughout."""
    policy = "float32" if precision == "none" else f"mixed_{precision}"
    keras.mixed_precision.set_global_policy(policy)
